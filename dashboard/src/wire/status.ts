/** What the controller's /status and the feed's `snapshot` and `status` events say, field by field. */

export type Health = 'healthy' | 'degraded' | 'unavailable'

export interface ClusterInfo {
  name: string
  /** Empty until the cluster has formed. */
  id: string
  partitions: number
  replicas: number
  write_quorum: number
  epoch: number
  layout: string
  release: string
}

export interface PartitionCounts {
  led: number
  leaderless: number
  /** Partitions with fewer live replicas than a write needs. */
  without_quorum: number
}

/** What the live leaders tell of one worker's copies. */
export interface AntiEntropy {
  /** Partitions being compared now. */
  comparing: number
  /** Partitions in which it is not known to hold all, and the first of them. */
  behind: number
  behind_in: number[]
  /** Keys that differed at the last comparison. */
  differing: number
  /** Keys written again there since those leaders started. */
  repaired: number
}

/** One worker as last reported: while it is not `online`, its counters are history. */
export interface WorkerView {
  id: number
  online: boolean
  state: string
  reasons: string[]
  rest_address: string
  grpc_address: string
  host: string
  zone: string
  weight: number
  release: string
  incarnation: string
  uptime_s: number
  keys: number
  tombstones: number
  disk_bytes: number
  partitions_led: number
  partitions_held: number
  partitions_primary: number
  /** Partitions held that are not yet known to agree with their leader. */
  behind: number
  /** Partitions without a vote until they are copied from all other replicas. */
  rebuilding: number
  anti_entropy: AntiEntropy
  /** Copies that the other workers still hold for this one. */
  latent_copies: number
  latent_bytes: number
  latent_oldest_ms: number
  /** Null before its first report. */
  last_seen_ms: number | null
  peers: Record<string, { live: boolean; latent_copies: number }>
}

export interface ClusterStatus {
  cluster: ClusterInfo
  health: Health
  partitions: PartitionCounts
  workers: WorkerView[]
  logs: { lines: number; dropped: number }
}

/** By partition: the workers that hold it, its primary first. */
export type PreferenceLists = readonly (readonly number[])[]

export interface ClusterSnapshot extends ClusterStatus {
  ring: { preference_lists: PreferenceLists }
}
