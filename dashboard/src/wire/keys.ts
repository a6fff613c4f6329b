/** Keys: as one worker holds them, as events of the feed, and the owners of one. */

export interface StoredKey {
  key: string
  partition: number
  version: string
  size_bytes: number
  /** Any JSON; null with `truncated` when it is too large to be listed. */
  value: unknown
  truncated: boolean
}

export interface KeyPage {
  worker: number
  keys: StoredKey[]
  next_after: string | null
}

export interface KeyEvent {
  key: string
  partition: number
  version: string
  deleted: boolean
}

export interface Owners {
  key: string
  partition: number
  primary_id: number
  primary_address: string
  /** The primary first. */
  replica_node_ids: number[]
  replica_addresses: string[]
  leader_id: number | null
}
