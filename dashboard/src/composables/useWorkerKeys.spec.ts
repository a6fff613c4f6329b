import { beforeEach, describe, expect, it, vi } from 'vitest'
import { effectScope, type EffectScope } from 'vue'

import { aSnapshot, aWorker, connectedFeed, type FakeFeed, fakeFetch, inScope } from '../testing/cluster'
import type { KeyPage, StoredKey } from '../wire/keys'
import { PAGE_SIZE, useWorkerKeys, type WorkerKeys } from './useWorkerKeys'

/** Twelve keys, paged as the controller does it. */
function pageOf(path: string): KeyPage {
  const query = new URL(path, 'http://h').searchParams
  const after = query.get('after') ?? ''
  const stored = (key: string): StoredKey => ({ key, partition: 0, version: '1.1.1', size_bytes: 1, value: 1, truncated: false })
  const all = Array.from({ length: 12 }, (_, index) => `key-${String(index).padStart(2, '0')}`)
  const rest = all.filter((key) => key > after && key.startsWith(query.get('prefix') ?? ''))
  const keys = rest.slice(0, Number(query.get('limit')))
  return { worker: 1, keys: keys.map(stored), next_after: rest.length > keys.length ? (keys.at(-1) ?? null) : null }
}

describe("a worker's keys", () => {
  let feed: FakeFeed
  let scope: EffectScope
  let asked: { path: string }[]

  function use(worker = 1): WorkerKeys {
    return inScope(scope, () => useWorkerKeys(worker, feed.store))
  }

  const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(2000)

  beforeEach(() => {
    vi.useFakeTimers()
    feed = connectedFeed()
    scope = effectScope()
    const faked = fakeFetch((path) => Response.json(pageOf(path)))
    asked = faked.asked
    vi.stubGlobal('fetch', faked.fetch)
    return () => {
      scope.stop()
      vi.useRealTimers()
    }
  })

  it('are fetched a page at a time, forth and back', async () => {
    const keys = use()
    await settle()
    expect(keys.keys.value).toHaveLength(PAGE_SIZE)
    expect(keys.hasNext.value).toBe(true)
    keys.next()
    await settle()
    expect(keys.keys.value.map(({ key }) => key)).toEqual(['key-08', 'key-09', 'key-10', 'key-11'])
    expect([keys.pageNumber.value, keys.hasNext.value]).toEqual([2, false])
    keys.previous()
    await settle()
    expect(keys.keys.value[0]?.key).toBe('key-00')
  })

  it('are filtered by prefix, from the first page on', async () => {
    const keys = use()
    await settle()
    keys.next()
    await settle()
    keys.prefix.value = 'key-1'
    await settle()
    expect(keys.keys.value.map(({ key }) => key)).toEqual(['key-10', 'key-11'])
    expect(keys.pageNumber.value).toBe(1)
  })

  it('are fetched again, once, after a burst of events that concern them', async () => {
    const keys = use()
    keys.prefix.value = 'key-'
    await settle()
    const before = asked.length
    const event = { partition: 0, version: '1.1.2', deleted: false }
    for (let index = 0; index < 50; index += 1) feed.say('keys', { worker: 1, events: [{ ...event, key: 'key-03' }], skipped: 0 })
    await settle()
    expect(asked.length).toBe(before + 1)
    feed.say('keys', { worker: 2, events: [{ ...event, key: 'key-03' }], skipped: 0 })
    feed.say('keys', { worker: 1, events: [{ ...event, key: 'other' }], skipped: 0 })
    await settle()
    expect(asked.length).toBe(before + 1)
    feed.say('keys', { worker: 2, events: [], skipped: 9 })
    await settle()
    expect(asked.length).toBe(before + 2)
  })

  it('are not asked for while the worker is offline, and are when it comes back', async () => {
    feed = connectedFeed(aSnapshot([aWorker(1, { online: false })]))
    use()
    await settle()
    expect(asked).toHaveLength(0)
    feed.say('status', aSnapshot([aWorker(1)]))
    await settle()
    expect(asked).toHaveLength(1)
  })

  it('say why they could not be fetched, and keep the last page', async () => {
    const keys = use()
    await settle()
    const problem = { title: 'Service Unavailable', detail: 'worker 1 cannot be reached' }
    vi.stubGlobal('fetch', fakeFetch(() => Response.json(problem, { status: 503 })).fetch)
    feed.say('status', aSnapshot([aWorker(1, { keys: 4 })]))
    await settle()
    expect(keys.problem.value).toBe('Service Unavailable: worker 1 cannot be reached')
    expect(keys.keys.value).toHaveLength(PAGE_SIZE)
  })
})
