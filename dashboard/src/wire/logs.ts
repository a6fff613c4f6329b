/** Log lines, as the feed sends them and as GET /logs pages them. */

export const LEVELS = ['debug', 'info', 'warning', 'error', 'critical'] as const

export type Level = (typeof LEVELS)[number]

export interface LogLine {
  /** Orders the lines of all nodes. */
  seq: number
  node: string
  timestamp: string
  level: Level
  event: string
  request_id: string | null
  fields: Record<string, unknown>
}

export interface LogPage {
  /** Newest last. */
  lines: LogLine[]
  next_before: number | null
}
