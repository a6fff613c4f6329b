// @vitest-environment happy-dom
import { mount, type VueWrapper } from '@vue/test-utils'
import { beforeEach, describe, expect, it } from 'vitest'
import { effectScope, nextTick } from 'vue'

import { useLogTail } from '../composables/useLogTail'
import { clusterKey } from '../stores/cluster'
import { aLine, aSnapshot, connectedFeed, inScope, type FakeFeed } from '../testing/cluster'
import LogPanel from './LogPanel.vue'

describe('the log', () => {
  let feed: FakeFeed
  let page: VueWrapper

  const lines = (): string[] => page.findAll('[data-testid=log-line]').map((line) => line.text())

  beforeEach(() => {
    const scope = effectScope()
    const first = aLine(1, { event: 'request_answered', request_id: 'r-1', fields: { path: '/kv/a', status: 200 } })
    feed = connectedFeed(aSnapshot(), [first, aLine(2, { level: 'error', node: 'controller' })])
    const tail = inScope(scope, () => useLogTail(feed.store))
    page = mount(LogPanel, { props: { tail }, global: { provide: { [clusterKey]: feed.store } } })
    return () => {
      scope.stop()
    }
  })

  it('shows what a line says, fields included', () => {
    expect(lines()[0]).toMatch(/worker-1.*info.*request_answered.*r-1.*path=\/kv\/a {2}status=200/s)
  })

  it('shows one request only when its id is clicked', async () => {
    await page.get('[data-testid=log-line] button').trigger('click')
    expect(lines()).toHaveLength(1)
    expect((page.get('[data-testid=log-filter-request]').element as HTMLInputElement).value).toBe('r-1')
    await page.get('[data-testid=log-filter-clear]').trigger('click')
    expect(lines()).toHaveLength(2)
  })

  it('is filtered by node and by lowest level', async () => {
    await page.get('[data-testid=log-filter-node]').setValue('controller')
    expect(lines()).toHaveLength(1)
    await page.get('[data-testid=log-filter-node]').setValue('')
    await page.get('[data-testid=log-filter-level]').setValue('warning')
    expect(lines()).toHaveLength(1)
  })

  it('stands still while paused', async () => {
    await page.get('[data-testid=log-pause]').trigger('click')
    feed.say('logs', { lines: [aLine(3)], skipped: 0 })
    await nextTick()
    expect(lines()).toHaveLength(2)
    expect(page.text()).toContain('1 new one held back')
    await page.get('[data-testid=log-pause]').trigger('click')
    expect(lines()).toHaveLength(3)
  })

  it('opens a long line on demand', async () => {
    feed.say('logs', { lines: [aLine(4, { fields: { traceback: 'x'.repeat(2000) } })], skipped: 0 })
    await nextTick()
    const line = page.findAll('[data-testid=log-line]').at(-1)
    expect(line?.text().length).toBeLessThan(450)
    await line?.get('button').trigger('click')
    expect(line?.text()).toContain('x'.repeat(2000))
  })

  it('draws only the end of a long tail while it runs, and all of it while paused', async () => {
    feed.say('logs', { lines: Array.from({ length: 230 }, (_, index) => aLine(index + 10)), skipped: 0 })
    await nextTick()
    expect(lines()).toHaveLength(200)
    expect(page.text()).toContain('232 lines')
    await page.get('[data-testid=log-pause]').trigger('click')
    expect(lines()).toHaveLength(232)
  })
})
