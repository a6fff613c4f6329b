/**
 * The Socket.IO feed's events, server to client. It takes none from the client. `skipped` counts what
 * the controller left out because this client was too slow.
 */
import { io, type Socket } from 'socket.io-client'

import type { KeyEvent } from './keys'
import type { LogLine } from './logs'
import type { ClusterSnapshot, ClusterStatus } from './status'

export interface FeedEvents {
  snapshot: (message: { status: ClusterSnapshot; logs: LogLine[] }) => void
  status: (status: ClusterStatus) => void
  logs: (message: { lines: LogLine[]; skipped: number }) => void
  keys: (message: { worker: number; events: KeyEvent[]; skipped: number }) => void
}

export type FeedSocket = Socket<FeedEvents, Record<string, never>>

/** Connect to the controller that served this page, and again for as long as the page is open. */
export function connectFeed(): FeedSocket {
  return io({
    transports: ['websocket', 'polling'],
    tryAllTransports: true,
    reconnectionDelay: 250,
    reconnectionDelayMax: 2000,
    timeout: 5000,
  })
}
