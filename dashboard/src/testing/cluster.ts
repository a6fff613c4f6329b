/** What specs are made of: a feed that speaks when told to, and a cluster for it to speak of. */
import type { EffectScope } from 'vue'

import { createClusterStore, type ClusterStore } from '../stores/cluster'
import type { FeedEvents, FeedSocket } from '../wire/feed'
import type { LogLine } from '../wire/logs'
import type { ClusterSnapshot, WorkerView } from '../wire/status'

export interface FakeFeed {
  store: ClusterStore
  say: <E extends keyof FeedEvents>(event: E, message: Parameters<FeedEvents[E]>[0]) => void
  disconnect: () => void
}

/** A store on a feed that has said nothing yet. */
export function fakeFeed(): FakeFeed {
  const handlers = new Map<string, (message?: unknown) => void>()
  const socket = {
    on: (event: string, handler: (message?: unknown) => void) => {
      handlers.set(event, handler)
    },
  }
  const store = createClusterStore(socket as unknown as FeedSocket)
  return {
    store,
    say: (event, message) => handlers.get(event)?.(message),
    disconnect: () => handlers.get('disconnect')?.(),
  }
}

/** A store that has had its snapshot: four workers online unless told otherwise. */
export function connectedFeed(snapshot: ClusterSnapshot = aSnapshot(), logs: LogLine[] = []): FakeFeed {
  const feed = fakeFeed()
  feed.say('snapshot', { status: snapshot, logs })
  return feed
}

export function aWorker(id: number, changes: Partial<WorkerView> = {}): WorkerView {
  return {
    id,
    online: true,
    state: 'ready',
    reasons: [],
    rest_address: `http://127.0.0.1:${5000 + id}`,
    grpc_address: `127.0.0.1:${6000 + id}`,
    host: `host-${id}`,
    zone: '',
    weight: 1,
    release: '0.1.0',
    incarnation: 'i',
    uptime_s: 61,
    keys: 3,
    tombstones: 0,
    disk_bytes: 1536,
    partitions_led: 2,
    partitions_held: 6,
    partitions_primary: 2,
    behind: 0,
    rebuilding: 0,
    anti_entropy: { comparing: 0, behind: 0, behind_in: [], differing: 0, repaired: 0 },
    latent_copies: 0,
    latent_bytes: 0,
    latent_oldest_ms: 0,
    last_seen_ms: 100,
    peers: {},
    ...changes,
  }
}

export function aSnapshot(workers: WorkerView[] = [1, 2, 3, 4].map((id) => aWorker(id))): ClusterSnapshot {
  return {
    cluster: { name: 'test', id: 'c', partitions: 8, replicas: 3, write_quorum: 2, epoch: 1, layout: 'l', release: '0.1.0' },
    health: 'healthy',
    partitions: { led: 8, leaderless: 0, without_quorum: 0 },
    workers,
    logs: { lines: 0, dropped: 0 },
    ring: { preference_lists: [1, 2, 3, 4, 1, 2, 3, 4].map((id) => [id, (id % 4) + 1, ((id + 1) % 4) + 1]) },
  }
}

export function aLine(seq: number, changes: Partial<LogLine> = {}): LogLine {
  return {
    seq,
    node: 'worker-1',
    timestamp: '2030-01-02T03:04:05.678Z',
    level: 'info',
    event: 'segment_sealed',
    request_id: null,
    fields: { segment: seq },
    ...changes,
  }
}

/** A fetch that answers each path by what `answers` gives for it; what it was asked is in `asked`. */
export function fakeFetch(answers: (path: string, init: RequestInit) => Response | Promise<Response>): {
  fetch: typeof globalThis.fetch
  asked: { path: string; init: RequestInit }[]
} {
  const asked: { path: string; init: RequestInit }[] = []
  const fetch = (input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    const path = input instanceof Request ? input.url : input.toString()
    asked.push({ path, init })
    return Promise.resolve(answers(path, init))
  }
  return { fetch, asked }
}

/** Run a composable as a component would: what it made ends with the scope. */
export function inScope<T>(scope: EffectScope, compose: () => T): T {
  const made = scope.run(compose)
  if (made === undefined) throw new Error('the scope has ended')
  return made
}
