import { beforeEach, describe, expect, it, vi } from 'vitest'
import { effectScope, nextTick, type EffectScope } from 'vue'

import { aLine, aSnapshot, connectedFeed, type FakeFeed, fakeFetch, inScope } from '../testing/cluster'
import type { LogLine } from '../wire/logs'
import { useLogTail, type LogTail } from './useLogTail'

describe('the log tail', () => {
  let feed: FakeFeed
  let scope: EffectScope
  let tail: LogTail

  const seqs = (): number[] => tail.shown.value.map((line) => line.seq)

  beforeEach(() => {
    feed = connectedFeed(aSnapshot(), [aLine(10), aLine(11, { node: 'worker-2', request_id: 'r' })])
    scope = effectScope()
    tail = inScope(scope, () => useLogTail(feed.store))
    return () => {
      scope.stop()
    }
  })

  it('shows the newest lines that pass the filter', () => {
    tail.filter.requestId = 'r'
    expect(seqs()).toEqual([11])
    feed.say('logs', { lines: [aLine(12), aLine(13, { request_id: 'r' })], skipped: 0 })
    expect(seqs()).toEqual([11, 13])
  })

  it('tells the story of one request in the order of time', () => {
    const at = (seq: number, second: number): LogLine => aLine(seq, { request_id: 'q', timestamp: `2030-01-02T03:04:0${second}Z` })
    feed.say('logs', { lines: [at(12, 3), at(13, 1), at(14, 2)], skipped: 0 })
    tail.filter.requestId = 'q'
    expect(seqs()).toEqual([13, 14, 12])
  })

  it('stands still while paused and counts what it holds back', () => {
    tail.pause()
    feed.say('logs', { lines: [aLine(12)], skipped: 0 })
    expect(seqs()).toEqual([10, 11])
    expect(tail.held.value).toBe(1)
    tail.resume()
    expect(seqs()).toEqual([10, 11, 12])
  })

  it('goes back with the filter it has, until there are no older lines', async () => {
    const pages = [
      { lines: [aLine(5), aLine(7)], next_before: 5 },
      { lines: [aLine(2)], next_before: null },
    ]
    const { fetch, asked } = fakeFetch(() => Response.json(pages.shift()))
    vi.stubGlobal('fetch', fetch)
    tail.filter.node = 'worker-1'
    await nextTick()
    tail.loadOlder()
    await vi.waitUntil(() => seqs().length === 3)
    tail.loadOlder()
    await vi.waitUntil(() => seqs().length === 4)
    expect(seqs()).toEqual([2, 5, 7, 10])
    expect(asked.map(({ path }) => path)).toEqual([
      '/logs?node=worker-1&before=10&limit=200',
      '/logs?node=worker-1&before=5&limit=200',
    ])
    expect(tail.canGoBack.value).toBe(false)
    expect(tail.paused.value).toBe(true)
  })

  it('forgets older lines when the filter changes', async () => {
    vi.stubGlobal('fetch', fakeFetch(() => Response.json({ lines: [aLine(5)], next_before: null })).fetch)
    tail.loadOlder()
    await vi.waitUntil(() => seqs().length === 3)
    tail.filter.text = 'sealed'
    await nextTick()
    expect(seqs()).toEqual([10, 11])
    expect(tail.canGoBack.value).toBe(true)
  })

  it('starts afresh with a new connection', async () => {
    tail.pause()
    feed.say('snapshot', { status: aSnapshot(), logs: [aLine(1)] })
    await nextTick()
    expect(tail.paused.value).toBe(false)
    expect(seqs()).toEqual([1])
  })
})
