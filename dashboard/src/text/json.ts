/**
 * JSON in and out with the text of numbers kept: 1.0 stays 1.0 and 12345678901234567890 loses no digit,
 * as far as the browser can hand out a number's source text (all current ones can).
 */

interface SourceTextJson {
  parse: (text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown) => unknown
  rawJSON?: (text: string) => unknown
}

const exact = JSON as unknown as SourceTextJson

/** Parse JSON; a number that JavaScript would spell differently becomes an opaque value that prints as it was. */
export function parseExact(text: string): unknown {
  const raw = exact.rawJSON
  if (raw === undefined) return JSON.parse(text)
  return exact.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source ? raw(source) : value,
  )
}

/** JSON on one line. */
export function oneLine(value: unknown): string {
  return JSON.stringify(value)
}

/** JSON laid out for reading, or the text itself if it is none. */
export function laidOut(text: string): string {
  try {
    return JSON.stringify(parseExact(text), null, 2)
  } catch {
    return text
  }
}

/** What is wrong with a text as JSON, or null. */
export function jsonProblem(text: string): string | null {
  if (text.trim() === '') return 'A value is needed: any JSON.'
  try {
    JSON.parse(text)
    return null
  } catch (error) {
    return `Not JSON: ${error instanceof Error ? error.message : String(error)}`
  }
}
