/** The keys that one worker stores, one page at a time, kept up to date while it is online. */
import { computed, onScopeDispose, ref, shallowRef, watch, type ComputedRef, type Ref } from 'vue'

import type { ClusterStore } from '../stores/cluster'
import type { KeyPage, StoredKey } from '../wire/keys'
import { getJson, queryOf } from '../wire/rest'
import { useRefresh } from './useRefresh'

export const PAGE_SIZE = 8

export interface WorkerKeys {
  prefix: Ref<string>
  keys: ComputedRef<readonly StoredKey[]>
  /** 1 for the first. */
  pageNumber: ComputedRef<number>
  hasNext: ComputedRef<boolean>
  loaded: ComputedRef<boolean>
  /** Why the page could not be fetched; empty when it could. */
  problem: Readonly<Ref<string>>
  next: () => void
  previous: () => void
}

export function useWorkerKeys(worker: number, store: ClusterStore): WorkerKeys {
  const prefix = ref('')
  /** Where each page up to this one begins: the key before it. */
  const starts = shallowRef<readonly string[]>([''])
  const page = shallowRef<KeyPage | null>(null)
  const problem = ref('')

  async function load(signal: AbortSignal): Promise<void> {
    const query = queryOf({ prefix: prefix.value, after: starts.value.at(-1) ?? '', limit: PAGE_SIZE })
    try {
      const fetched = await getJson<KeyPage>(`/workers/${worker}/keys${query}`, signal)
      problem.value = ''
      page.value = fetched
      if (fetched.keys.length === 0 && starts.value.length > 1) turnTo([''])
    } catch (error) {
      if (!signal.aborted) problem.value = error instanceof Error ? error.message : String(error)
    }
  }

  const refresh = useRefresh(load, 150, 1000)

  function turnTo(next: readonly string[]): void {
    starts.value = next
    refresh.now()
  }

  watch(prefix, () => {
    starts.value = ['']
    refresh.cancel()
    refresh.soon()
  })
  watch(
    () => [store.generation.value, store.workers.get(worker)?.online, store.workers.get(worker)?.keys],
    ([, online]) => {
      if (online) refresh.soon()
    },
    { immediate: true },
  )
  onScopeDispose(
    store.onKeys((at, events, complete) => {
      const concerned = at === worker && events.some((event) => event.key.startsWith(prefix.value))
      if (concerned || !complete) refresh.soon()
    }),
  )

  return {
    prefix,
    problem,
    keys: computed(() => page.value?.keys ?? []),
    pageNumber: computed(() => starts.value.length),
    hasNext: computed(() => page.value?.next_after != null),
    loaded: computed(() => page.value !== null),
    next: () => {
      const after = page.value?.next_after
      if (after != null) turnTo([...starts.value, after])
    },
    previous: () => {
      if (starts.value.length > 1) turnTo(starts.value.slice(0, -1))
    },
  }
}
