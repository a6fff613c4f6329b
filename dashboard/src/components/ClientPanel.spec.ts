// @vitest-environment happy-dom
import { flushPromises, mount, type VueWrapper } from '@vue/test-utils'
import { beforeEach, describe, expect, it, vi } from 'vitest'

import { useClient } from '../composables/useClient'
import { clusterKey } from '../stores/cluster'
import { aSnapshot, aWorker, connectedFeed, fakeFetch } from '../testing/cluster'
import ClientPanel from './ClientPanel.vue'

describe('the client panel', () => {
  let page: VueWrapper
  let asked: { path: string; init: RequestInit }[]

  const field = (name: string): ReturnType<VueWrapper['get']> => page.get(`[data-testid="client-${name}"]`)

  beforeEach(() => {
    const faked = fakeFetch((_path, { method }) =>
      method === 'DELETE'
        ? Response.json({ title: 'No quorum', outcome: 'unknown' }, { status: 503, statusText: 'Service Unavailable' })
        : new Response('{"found":true}', { headers: { ETag: '"3.1.42"' } }),
    )
    asked = faked.asked
    vi.stubGlobal('fetch', faked.fetch)
    const { store } = connectedFeed(aSnapshot([aWorker(1), aWorker(2, { online: false })]))
    page = mount(ClientPanel, { props: { client: useClient() }, global: { provide: { [clusterKey]: store } } })
  })

  it('offers every worker, and says which are offline', () => {
    expect(field('node').findAll('option').map((option) => option.text())).toEqual(['any', 'worker 1', 'worker 2 (offline)'])
  })

  it('says what is wrong with a key or value only once they are used', async () => {
    expect(page.text()).not.toContain('needed')
    await field('put').trigger('click')
    expect(page.text()).toContain('A key is needed')
    expect(page.text()).toContain('A value is needed')
    await field('key').setValue('k')
    await field('value').setValue('{"a":')
    expect(field('value').attributes('aria-invalid')).toBe('true')
    expect(asked).toHaveLength(0)
  })

  it('shows the answer, and its version goes into the condition on demand', async () => {
    await field('key').setValue('k')
    await field('get').trigger('submit')
    await flushPromises()
    expect(field('answer').attributes('data-status')).toBe('200')
    expect(field('answer').text()).toContain('"found": true')
    await field('answer').findAll('button')[0]?.trigger('click')
    expect((field('if-match').element as HTMLInputElement).value).toBe('3.1.42')
  })

  it('says in words what an unknown outcome means', async () => {
    await field('key').setValue('k')
    await field('delete').trigger('click')
    await flushPromises()
    expect(field('answer').text()).toContain('503')
    expect(field('answer').text()).toContain('May be stored')
  })

  it('hands the request id over to be found in the log', async () => {
    await field('key').setValue('k')
    await field('get').trigger('submit')
    await flushPromises()
    await field('answer').findAll('button')[1]?.trigger('click')
    expect(page.emitted('find-request')?.[0]?.[0]).toMatch(/^dash-/)
  })
})
