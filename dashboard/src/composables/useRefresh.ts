/** One request repeated as often as needed and no oftener: bursts are gathered, runs never overlap. */
import { onScopeDispose } from 'vue'

export interface Refresh {
  /** Run soon: calls close together, or during a run, make one run. */
  soon: () => void
  /** Run now, in place of a run that is due or under way. */
  now: () => void
  /** Abort what is under way and forget what is due. */
  cancel: () => void
}

/**
 * `run` starts `settleMs` after the first call of a burst, and not again within `pauseMs`. Its
 * signal is aborted when another run takes its place and when the scope ends.
 */
export function useRefresh(run: (signal: AbortSignal) => Promise<void>, settleMs: number, pauseMs: number): Refresh {
  let timer: ReturnType<typeof setTimeout> | undefined
  let current: AbortController | null = null
  let wanted = false
  let lastMs = -Infinity

  function cancel(): void {
    clearTimeout(timer)
    timer = undefined
    wanted = false
    current?.abort()
    current = null
  }

  function now(): void {
    cancel()
    const mine = new AbortController()
    current = mine
    lastMs = performance.now()
    void run(mine.signal).finally(() => {
      if (current !== mine) return
      current = null
      if (wanted) soon()
    })
  }

  function soon(): void {
    if (current !== null) {
      wanted = true
      return
    }
    wanted = false
    timer ??= setTimeout(now, Math.max(settleMs, lastMs + pauseMs - performance.now()))
  }

  onScopeDispose(cancel)
  return { soon, now, cancel }
}
