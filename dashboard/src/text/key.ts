/** Keys as parts of a URL: percent-encoded so strictly that every byte arrives as typed. */

export const MAX_KEY_BYTES = 1024

/** What is wrong with a key, or null. */
export function keyProblem(key: string): string | null {
  if (key === '') return 'A key is needed.'
  if (!key.isWellFormed()) return 'The key has half of a surrogate pair: it is not valid Unicode.'
  const bytes = new TextEncoder().encode(key).length
  if (bytes > MAX_KEY_BYTES) return `The key has ${bytes} bytes; at most ${MAX_KEY_BYTES} are allowed.`
  // URL parsers treat these two as steps in a path, encoded or not.
  if (key === '.' || key === '..') return `A browser cannot send the key ${key}: use another client for it.`
  return null
}

/** The key as one path segment; slashes included, only unreserved characters stay as they are. */
export function keySegment(key: string): string {
  return encodeURIComponent(key).replace(/[!'()*]/g, (sign) => '%' + sign.charCodeAt(0).toString(16).toUpperCase())
}
