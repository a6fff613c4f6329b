import { describe, expect, it, vi } from 'vitest'

import { fakeFetch } from '../testing/cluster'
import { useClient } from './useClient'

function clientWith(response: () => Response | Promise<Response>): { client: ReturnType<typeof useClient>; asked: ReturnType<typeof fakeFetch>['asked'] } {
  const { fetch, asked } = fakeFetch(response)
  vi.stubGlobal('fetch', fetch)
  return { client: useClient(), asked }
}

describe('the client', () => {
  it('sends the value as typed, to the chosen node, with the key as one segment', async () => {
    const { client, asked } = clientWith(() => new Response('{"status":"success"}', { headers: { ETag: '"3.1.42"' } }))
    Object.assign(client.draft, { key: 'a/b %', value: ' {"n": 1.0} ', node: '3', ifMatch: '"3.1.41"' })
    await client.send('PUT')
    expect(asked[0]?.path).toBe('/kv/a%2Fb%20%25?node=3')
    expect(asked[0]?.init).toMatchObject({ method: 'PUT', body: '{"value": {"n": 1.0} }' })
    expect(asked[0]?.init.headers).toMatchObject({ 'If-Match': '"3.1.41"', 'Content-Type': 'application/json' })
    expect(client.answer.value).toMatchObject({ status: 200, etag: '3.1.42', method: 'PUT', key: 'a/b %' })
  })

  it('names its request by an id that the header carries', async () => {
    const { client, asked } = clientWith(() => new Response('{}'))
    client.draft.key = 'k'
    await client.send('GET')
    expect(client.answer.value?.requestId).toMatch(/^dash-[0-9a-f]{10}$/)
    expect(asked[0]?.init.headers).toEqual({ 'X-Request-ID': client.answer.value?.requestId })
  })

  it('reads locally only when told to, and puts no condition on a read', async () => {
    const { client, asked } = clientWith(() => new Response('{}'))
    Object.assign(client.draft, { key: 'k', consistency: 'local', ifMatch: '1.1.1' })
    await client.send('GET')
    await client.send('DELETE')
    expect(asked.map(({ path }) => path)).toEqual(['/kv/k?consistency=local', '/kv/k'])
    expect(asked[0]?.init.headers).not.toHaveProperty('If-Match')
    expect(asked[1]?.init.headers).toHaveProperty('If-Match', '"1.1.1"')
  })

  it('sends nothing that is wrong in itself', async () => {
    const { client, asked } = clientWith(() => new Response('{}'))
    await client.send('GET')
    Object.assign(client.draft, { key: 'k', value: '{' })
    await client.send('PUT')
    expect(asked).toHaveLength(0)
  })

  it('shows what the outcome of a failed write is', async () => {
    const { client } = clientWith(() => Response.json({ title: 'No quorum', outcome: 'not_stored' }, { status: 503 }))
    Object.assign(client.draft, { key: 'k', value: '1' })
    await client.send('PUT')
    expect(client.answer.value).toMatchObject({ status: 503, outcome: 'not_stored' })
  })

  it('calls a write unknown when no answer came', async () => {
    const { client } = clientWith(() => Promise.reject(new TypeError('Failed to fetch')))
    Object.assign(client.draft, { key: 'k', value: '1' })
    await client.send('PUT')
    expect(client.answer.value).toMatchObject({ status: 0, outcome: 'unknown' })
    expect(client.busy.value).toBe(false)
  })
})
