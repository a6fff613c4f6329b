/** Which log lines pass a filter; the same rule as the controller's GET /logs. */
import { LEVELS, type Level, type LogLine } from '../wire/logs'

/** An empty filter lets all through. `level` is the lowest that passes. */
export interface LogFilter {
  node: string
  level: Level | ''
  text: string
  requestId: string
}

export const NO_FILTER: LogFilter = { node: '', level: '', text: '', requestId: '' }

const searchable = new WeakMap<LogLine, string>()

export function passes(line: LogLine, filter: LogFilter): boolean {
  if (filter.node && line.node !== filter.node) return false
  if (filter.requestId && line.request_id !== filter.requestId) return false
  if (filter.level && LEVELS.indexOf(line.level) < LEVELS.indexOf(filter.level)) return false
  return !filter.text || textOf(line).includes(filter.text.toLowerCase())
}

/** All of a line as text, in one case. */
function textOf(line: LogLine): string {
  let text = searchable.get(line)
  if (text === undefined) {
    const parts = [line.timestamp, line.node, line.event, line.request_id ?? '', JSON.stringify(line.fields)]
    text = parts.join(' ').toLowerCase()
    searchable.set(line, text)
  }
  return text
}
