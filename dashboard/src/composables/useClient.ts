/** The client panel's state: one request at a time, and the answer to the last one as it came. */
import { computed, reactive, ref, shallowRef, type ComputedRef, type Ref } from 'vue'

import { jsonProblem, laidOut } from '../text/json'
import { keyProblem, keySegment } from '../text/key'
import { queryOf } from '../wire/rest'

export type Method = 'PUT' | 'GET' | 'DELETE'
export type Consistency = 'linearizable' | 'local'

/** After this long without an answer the request is given up. */
const TIMEOUT_MS = 20_000

export interface Draft {
  key: string
  /** JSON text, sent as typed. */
  value: string
  /** A worker's number; empty: any. */
  node: string
  consistency: Consistency
  /** A version, for PUT and DELETE; empty: no condition. */
  ifMatch: string
}

export interface Answer {
  method: Method
  key: string
  /** 0: there was none. */
  status: number
  statusText: string
  body: string
  /** The version in the answer's ETag; empty without one. */
  etag: string
  latencyMs: number
  requestId: string
  /** Of a write that failed: `not_stored`, `unknown`, or empty. */
  outcome: string
}

export interface Client {
  draft: Draft
  keyProblem: ComputedRef<string | null>
  valueProblem: ComputedRef<string | null>
  busy: Readonly<Ref<boolean>>
  answer: Readonly<Ref<Answer | null>>
  /** Send the draft, unless it is wrong in itself. */
  send: (method: Method) => Promise<void>
}

export function useClient(): Client {
  const draft = reactive<Draft>({ key: '', value: '', node: '', consistency: 'linearizable', ifMatch: '' })
  const busy = ref(false)
  const answer = shallowRef<Answer | null>(null)
  const wrongKey = computed(() => keyProblem(draft.key))
  const wrongValue = computed(() => jsonProblem(draft.value))

  async function send(method: Method): Promise<void> {
    if (busy.value || wrongKey.value !== null || (method === 'PUT' && wrongValue.value !== null)) return
    busy.value = true
    try {
      answer.value = await exchange(method, { ...draft })
    } finally {
      busy.value = false
    }
  }

  return { draft, keyProblem: wrongKey, valueProblem: wrongValue, busy, answer, send }
}

/** Send one request by the controller. Never fails: no answer is an answer with status 0. */
async function exchange(method: Method, draft: Draft): Promise<Answer> {
  const requestId = newRequestId()
  const begun = performance.now()
  const told = { method, key: draft.key, requestId }
  try {
    const response = await fetch(urlOf(method, draft), { ...requestOf(method, draft, requestId), cache: 'no-store' })
    const text = await response.text()
    return {
      ...told,
      status: response.status,
      statusText: response.statusText,
      body: laidOut(text),
      etag: (response.headers.get('ETag') ?? '').replaceAll('"', ''),
      latencyMs: performance.now() - begun,
      outcome: outcomeOf(text),
    }
  } catch (error) {
    const outcome = method === 'GET' ? '' : 'unknown'
    const body = `The controller did not answer: ${error instanceof Error ? error.message : String(error)}`
    return { ...told, status: 0, statusText: 'no answer', body, etag: '', latencyMs: performance.now() - begun, outcome }
  }
}

function urlOf(method: Method, draft: Draft): string {
  const consistency = method === 'GET' && draft.consistency === 'local' ? 'local' : ''
  const query = queryOf({ node: draft.node, consistency })
  return `/kv/${keySegment(draft.key)}${query === '?' ? '' : query}`
}

function requestOf(method: Method, draft: Draft, requestId: string): RequestInit {
  const headers: Record<string, string> = { 'X-Request-ID': requestId }
  const condition = draft.ifMatch.trim()
  if (condition && method !== 'GET') headers['If-Match'] = condition === '*' ? '*' : `"${condition.replaceAll('"', '')}"`
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  if (method !== 'PUT') return { method, headers, signal }
  headers['Content-Type'] = 'application/json'
  return { method, headers, signal, body: `{"value":${draft.value}}` }
}

function outcomeOf(text: string): string {
  try {
    const { outcome } = JSON.parse(text) as { outcome?: unknown }
    return typeof outcome === 'string' ? outcome : ''
  } catch {
    return ''
  }
}

/** An id that finds the request in every node's log. (randomUUID exists on secure origins only.) */
function newRequestId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(5))
  return 'dash-' + Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
