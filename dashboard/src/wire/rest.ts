/** GET of JSON from the controller. Numbers keep the text they were sent with. */
import { parseExact } from '../text/json'

/** The controller answered with an error; the message is what it said. */
export class AnswerError extends Error {
  readonly status: number

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'AnswerError'
    this.status = status
  }
}

/** Fetch a path of the controller. Raises AnswerError for an error answer, and with status 0 when there is none. */
export async function getJson<T>(path: string, signal: AbortSignal): Promise<T> {
  const { response, text } = await answerOf(path, signal)
  if (!response.ok) throw new AnswerError(response.status, problemText(text, response))
  return parseExact(text) as T
}

async function answerOf(path: string, signal: AbortSignal): Promise<{ response: Response; text: string }> {
  try {
    const response = await fetch(path, { signal, headers: { Accept: 'application/json' } })
    return { response, text: await response.text() }
  } catch (error) {
    throw new AnswerError(0, 'The controller does not answer.', { cause: error })
  }
}

/** A query string, with its question mark, of those parameters that are not empty. */
export function queryOf(parameters: Record<string, string | number>): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== '')
  return '?' + given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')
}

function problemText(text: string, response: Response): string {
  try {
    const problem = JSON.parse(text) as { title?: string; detail?: string }
    const said = [problem.title, problem.detail].filter(Boolean).join(': ')
    if (said) return said
  } catch {
    // Not a problem document: the status line has to do.
  }
  return `${response.status} ${response.statusText}`.trim()
}
