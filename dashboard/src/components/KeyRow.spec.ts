// @vitest-environment happy-dom
import { mount, type VueWrapper } from '@vue/test-utils'
import { describe, expect, it } from 'vitest'

import { parseExact } from '../text/json'
import type { StoredKey } from '../wire/keys'
import KeyRow from './KeyRow.vue'

function mounted(changes: Partial<StoredKey>): VueWrapper {
  const stored = { key: 'k', partition: 9, version: '3.1.42', size_bytes: 10, value: null, truncated: false, ...changes }
  return mount(KeyRow, { props: { stored } })
}

describe('a key', () => {
  it('shows a long value short, and in full when opened', async () => {
    const page = mounted({ value: 'x'.repeat(3000) })
    expect(page.text().length).toBeLessThan(200)
    await page.get('button').trigger('click')
    expect(page.get('button').attributes('aria-expanded')).toBe('true')
    expect(page.get('pre').text()).toContain('x'.repeat(3000))
    expect(page.text()).toContain('3.1.42')
  })

  it('tells null from a value that is too large to be listed', () => {
    expect(mounted({}).text()).toContain('null')
    expect(mounted({ truncated: true, size_bytes: 1_048_576 }).text()).toContain('1.0 MiB, too large to list')
  })

  it('keeps the digits of its numbers', () => {
    expect(mounted({ value: parseExact('{"id":12345678901234567890}') }).text()).toContain('12345678901234567890')
  })
})
