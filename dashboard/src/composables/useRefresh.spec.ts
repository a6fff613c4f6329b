import { beforeEach, describe, expect, it, vi } from 'vitest'
import { effectScope, type EffectScope } from 'vue'

import { inScope } from '../testing/cluster'
import { useRefresh, type Refresh } from './useRefresh'

describe('a refresh', () => {
  let scope: EffectScope
  let refresh: Refresh
  let runs: { signal: AbortSignal; end: () => void }[]

  beforeEach(() => {
    vi.useFakeTimers()
    scope = effectScope()
    runs = []
    const run = (signal: AbortSignal): Promise<void> =>
      new Promise((resolve) => {
        runs.push({ signal, end: resolve })
      })
    refresh = inScope(scope, () => useRefresh(run, 100, 1000))
    return () => {
      scope.stop()
      vi.useRealTimers()
    }
  })

  it('makes one run of a burst', () => {
    refresh.soon()
    refresh.soon()
    vi.advanceTimersByTime(100)
    expect(runs).toHaveLength(1)
  })

  it('waits for the run that is under way, and for the pause', async () => {
    refresh.now()
    refresh.soon()
    await vi.advanceTimersByTimeAsync(5000)
    expect(runs).toHaveLength(1)
    runs[0]?.end()
    await vi.advanceTimersByTimeAsync(100)
    expect(runs).toHaveLength(2)
    runs[1]?.end()
    await vi.advanceTimersByTimeAsync(0)
    refresh.soon()
    await vi.advanceTimersByTimeAsync(500)
    expect(runs).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(500)
    expect(runs).toHaveLength(3)
  })

  it('aborts a run that another one takes the place of', () => {
    refresh.now()
    refresh.now()
    expect(runs.map(({ signal }) => signal.aborted)).toEqual([true, false])
  })

  it('stops with its scope', () => {
    refresh.now()
    refresh.cancel()
    refresh.soon()
    scope.stop()
    vi.advanceTimersByTime(5000)
    expect(runs).toHaveLength(1)
    expect(runs[0]?.signal.aborted).toBe(true)
  })
})
