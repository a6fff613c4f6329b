// @vitest-environment happy-dom
import { mount, type VueWrapper } from '@vue/test-utils'
import { describe, expect, it, vi } from 'vitest'

import { clusterKey } from '../stores/cluster'
import { aSnapshot, aWorker, connectedFeed, fakeFetch } from '../testing/cluster'
import type { WorkerView } from '../wire/status'
import WorkerCard from './WorkerCard.vue'

function mounted(changes: Partial<WorkerView> = {}, feed = (worker: WorkerView) => connectedFeed(aSnapshot([worker]))): VueWrapper {
  const stored = { key: 'user:1', partition: 4, version: '1.1.1', size_bytes: 14, value: { name: 'Ada' }, truncated: false }
  vi.stubGlobal('fetch', fakeFetch(() => Response.json({ worker: 1, keys: [stored], next_after: null })).fetch)
  const worker = aWorker(1, changes)
  const { store } = feed(worker)
  return mount(WorkerCard, { props: { worker }, global: { provide: { [clusterKey]: store } } })
}

const state = (page: VueWrapper): string => page.get('[data-testid=worker-state-1]').text()
const repair = (page: VueWrapper): string => page.get('[data-testid=worker-repair-1]').text().replace(/\s+/g, ' ')
const lag = (page: VueWrapper): string => page.get('[data-testid=worker-lag-1]').text()

describe("a worker's card", () => {
  it('says that it is online, where, and what it leads', () => {
    const page = mounted()
    expect(state(page)).toContain('Online')
    expect(page.text()).toContain('127.0.0.1:5001')
    expect(page.text()).toContain('2 led')
    expect(page.text()).toContain('of 6 held')
    expect(lag(page)).toContain('none')
  })

  it('says what keeps an online worker from being ready', () => {
    const page = mounted({ state: 'catching_up', reasons: ['12 partitions to compare'], behind: 12 })
    expect(state(page)).toContain('Online, catching up')
    expect(page.text()).toContain('12 partitions to compare')
    expect(lag(page)).toContain('behind in 12 partitions')
  })

  it('says how far its copies are compared and rebuilt, and what differs', () => {
    expect(repair(mounted())).toBe('anti-entropy nothing differs')
    const found = { comparing: 2, behind: 3, behind_in: [4, 17], differing: 5, repaired: 1 }
    const page = mounted({ state: 'rebuilding', rebuilding: 2, anti_entropy: found })
    expect(repair(page)).toBe(
      'anti-entropy rebuilding, 4 of 6 partitions done; comparing 2 partitions; 5 keys differ; not whole in 3 partitions (4, 17, …); 1 key repaired',
    )
  })

  it('says that it is offline, since when, why, and what is due to it', () => {
    const page = mounted({
      online: false,
      state: 'offline',
      reasons: ['connection reset'],
      last_seen_ms: 4200,
      latent_copies: 1,
      latent_oldest_ms: 900,
    })
    expect(state(page)).toContain('Offline')
    expect(page.text()).toContain('connection reset')
    expect(page.text()).toContain('last report 4.2 s ago')
    expect(lag(page)).toContain('1 copy due, oldest 900 ms')
    expect(page.text()).toContain('cannot be listed while it is offline')
  })

  it('claims nothing about now while the feed is lost', () => {
    const page = mounted({}, (worker) => {
      const feed = connectedFeed(aSnapshot([worker]))
      feed.disconnect()
      return feed
    })
    expect(state(page)).toContain('Last known: online')
  })

  it('says that its keys cannot be fetched, until the feed is lost, which the header says for all', async () => {
    const worker = aWorker(1)
    const feed = connectedFeed(aSnapshot([worker]))
    vi.stubGlobal('fetch', fakeFetch(() => Promise.reject(new TypeError('Failed to fetch'))).fetch)
    const page = mount(WorkerCard, { props: { worker }, global: { provide: { [clusterKey]: feed.store } } })
    await vi.waitUntil(() => page.find('[role=alert]').exists())
    feed.disconnect()
    await vi.waitUntil(() => !page.find('[role=alert]').exists())
  })

  it('lists the keys that it stores, and hands one over when picked', async () => {
    const page = mounted()
    await vi.waitUntil(() => page.find('[data-testid=key-row]').exists())
    const row = page.get('[data-testid=key-row]')
    expect(row.text()).toContain('{"name":"Ada"}')
    await row.get('button').trigger('click')
    await row.get('.link').trigger('click')
    expect(page.emitted('pick')).toEqual([['user:1']])
  })
})
