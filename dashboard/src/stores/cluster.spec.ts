import { describe, expect, it, vi } from 'vitest'

import { aLine, aSnapshot, aWorker, connectedFeed, fakeFeed } from '../testing/cluster'
import { MAX_LINES } from './cluster'

describe('the cluster store', () => {
  it('knows nothing and says so before the snapshot', () => {
    const { store, say } = fakeFeed()
    say('status', aSnapshot())
    expect(store.feed.value).toBe('connecting')
    expect(store.workerIds.value).toEqual([])
  })

  it('keeps workers by id, in the order of their numbers', () => {
    const { store } = connectedFeed(aSnapshot([aWorker(2), aWorker(10), aWorker(1)]))
    expect(store.feed.value).toBe('live')
    expect(store.workerIds.value).toEqual([1, 2, 10])
  })

  it('takes what a status says and keeps the ring of the snapshot', () => {
    const { store, say } = connectedFeed()
    say('status', { ...aSnapshot([aWorker(1, { online: false })]), health: 'degraded' })
    expect(store.status.value?.health).toBe('degraded')
    expect(store.workers.get(1)?.online).toBe(false)
    expect(store.workerIds.value).toEqual([1])
    expect(store.preferenceLists.value).toHaveLength(8)
  })

  it('keeps the last state readable while the feed is lost, and takes no part of a later one before its snapshot', () => {
    const { store, say, disconnect } = connectedFeed()
    disconnect()
    say('status', aSnapshot([]))
    expect(store.feed.value).toBe('lost')
    expect(store.lostAt.value).not.toBeNull()
    expect(store.workerIds.value).toEqual([1, 2, 3, 4])
  })

  it('starts afresh with the snapshot of a new connection', () => {
    const { store, say, disconnect } = connectedFeed(aSnapshot(), [aLine(700)])
    disconnect()
    say('snapshot', { status: aSnapshot([aWorker(7)]), logs: [aLine(1)] })
    expect(store.workerIds.value).toEqual([7])
    expect(store.lines.value.map((line) => line.seq)).toEqual([1])
    expect(store.generation.value).toBe(2)
    expect(store.lostAt.value).toBeNull()
  })

  it('appends log lines once, and never holds more than its bound', () => {
    const { store, say } = connectedFeed(aSnapshot(), [aLine(1), aLine(2)])
    say('logs', { lines: [aLine(2), aLine(3)], skipped: 0 })
    expect(store.lines.value.map((line) => line.seq)).toEqual([1, 2, 3])
    say('logs', { lines: Array.from({ length: MAX_LINES }, (_, index) => aLine(index + 4)), skipped: 5 })
    expect(store.lines.value).toHaveLength(MAX_LINES)
    expect(store.lines.value.at(-1)?.seq).toBe(MAX_LINES + 3)
    expect(store.linesSkipped.value).toBe(5)
  })

  it('tells listeners of changed keys until they leave', () => {
    const { store, say } = connectedFeed()
    const listener = vi.fn()
    const leave = store.onKeys(listener)
    const events = [{ key: 'a', partition: 1, version: '1.1.1', deleted: false }]
    say('keys', { worker: 2, events, skipped: 0 })
    leave()
    say('keys', { worker: 3, events, skipped: 0 })
    expect(listener.mock.calls).toEqual([[2, events, true]])
  })
})
