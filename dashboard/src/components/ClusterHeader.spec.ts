// @vitest-environment happy-dom
import { mount, type VueWrapper } from '@vue/test-utils'
import { describe, expect, it } from 'vitest'
import { nextTick } from 'vue'

import { clusterKey } from '../stores/cluster'
import { aSnapshot, aWorker, connectedFeed, fakeFeed, type FakeFeed } from '../testing/cluster'
import ClusterHeader from './ClusterHeader.vue'

function mounted({ store }: FakeFeed): VueWrapper {
  return mount(ClusterHeader, { global: { provide: { [clusterKey]: store } } })
}

const text = (page: VueWrapper, id: string): string => page.get(`[data-testid="${id}"]`).text()

describe('the header', () => {
  it('says how the cluster is and how many workers are there', () => {
    const page = mounted(connectedFeed(aSnapshot([aWorker(1), aWorker(2, { online: false })])))
    expect(text(page, 'cluster-health')).toContain('healthy')
    expect(text(page, 'feed-state')).toContain('Live')
    expect(page.text()).toContain('1 of 2 workers online')
  })

  it('claims no health while the feed is lost', async () => {
    const feed = connectedFeed()
    const page = mounted(feed)
    feed.disconnect()
    await nextTick()
    expect(text(page, 'cluster-health')).toContain('unknown')
    expect(text(page, 'feed-state')).toContain('Reconnecting')
    expect(page.get('[role=alert]').text()).toContain('What you see is from before')
  })

  it('waits calmly before the first snapshot', () => {
    const page = mounted(fakeFeed())
    expect(text(page, 'feed-state')).toContain('Connecting')
    expect(page.find('[role=alert]').exists()).toBe(false)
  })
})
