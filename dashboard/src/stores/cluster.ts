/**
 * The one owner of the feed: what is known of the cluster, by id, and the newest log lines.
 *
 * Every (re)connection begins with a snapshot, and with it everything starts afresh: nothing of an
 * earlier connection is ever mixed with a later one. Between connections the last state stays
 * readable, and `feed` says that it is old.
 */
import { computed, inject, ref, shallowReactive, shallowRef, type ComputedRef, type InjectionKey, type Ref } from 'vue'

import type { FeedSocket } from '../wire/feed'
import type { KeyEvent } from '../wire/keys'
import type { LogLine } from '../wire/logs'
import type { ClusterStatus, PreferenceLists, WorkerView } from '../wire/status'

/** Lines kept in memory; the controller keeps more. */
export const MAX_LINES = 1000

export type FeedState = 'connecting' | 'live' | 'lost'
/** `complete` is false when events were left out before these. */
export type KeysListener = (worker: number, events: readonly KeyEvent[], complete: boolean) => void

export interface ClusterStore {
  feed: Readonly<Ref<FeedState>>
  /** When the feed was lost (milliseconds of the clock); null while it was not. */
  lostAt: Readonly<Ref<number | null>>
  /** Grows with every snapshot: whoever fetched something over REST fetches it again. */
  generation: Readonly<Ref<number>>
  status: Readonly<Ref<ClusterStatus | null>>
  preferenceLists: Readonly<Ref<PreferenceLists>>
  workers: ReadonlyMap<number, WorkerView>
  workerIds: ComputedRef<number[]>
  /** Oldest first, at most MAX_LINES. */
  lines: Readonly<Ref<readonly LogLine[]>>
  /** Lines that this page was too slow to take. */
  linesSkipped: Readonly<Ref<number>>
  /** Hear of keys that changed on a worker; returns what ends it. */
  onKeys: (listener: KeysListener) => () => void
}

export const clusterKey: InjectionKey<ClusterStore> = Symbol('cluster')

/** The store that the app provides. */
export function useCluster(): ClusterStore {
  const store = inject(clusterKey)
  if (store === undefined) throw new Error('no cluster store is provided')
  return store
}

export function createClusterStore(socket: FeedSocket): ClusterStore {
  const feed = ref<FeedState>('connecting')
  const lostAt = ref<number | null>(null)
  const generation = ref(0)
  const status = shallowRef<ClusterStatus | null>(null)
  const preferenceLists = shallowRef<PreferenceLists>([])
  const workers = shallowReactive(new Map<number, WorkerView>())
  const lines = shallowRef<readonly LogLine[]>([])
  const linesSkipped = ref(0)
  const listeners = new Set<KeysListener>()

  function takeStatus(next: ClusterStatus): void {
    status.value = next
    const present = new Set(next.workers.map((worker) => worker.id))
    for (const id of workers.keys()) if (!present.has(id)) workers.delete(id)
    for (const worker of next.workers) workers.set(worker.id, worker)
  }

  socket.on('snapshot', (message) => {
    workers.clear()
    takeStatus(message.status)
    preferenceLists.value = message.status.ring.preference_lists
    lines.value = message.logs.slice(-MAX_LINES)
    linesSkipped.value = 0
    lostAt.value = null
    feed.value = 'live'
    generation.value += 1
  })
  socket.on('status', (next) => {
    if (feed.value === 'live') takeStatus(next)
  })
  socket.on('logs', (message) => {
    if (feed.value !== 'live') return
    linesSkipped.value += message.skipped
    const newest = lines.value.at(-1)?.seq ?? 0
    const fresh = message.lines.filter((line) => line.seq > newest)
    lines.value = [...lines.value, ...fresh].slice(-MAX_LINES)
  })
  socket.on('keys', (message) => {
    for (const listener of listeners) listener(message.worker, message.events, message.skipped === 0)
  })
  socket.on('disconnect', () => {
    feed.value = 'lost'
    lostAt.value ??= Date.now()
  })
  socket.on('connect_error', () => {
    feed.value = 'lost'
    lostAt.value ??= Date.now()
  })

  return {
    feed,
    lostAt,
    generation,
    status,
    preferenceLists,
    workers,
    workerIds: computed(() => [...workers.keys()].sort((a, b) => a - b)),
    lines,
    linesSkipped,
    onKeys: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
