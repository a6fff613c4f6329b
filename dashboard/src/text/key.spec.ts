import { describe, expect, it } from 'vitest'

import { keyProblem, keySegment } from './key'

describe('a key', () => {
  it.each([
    ['a/b//c', 'a%2Fb%2F%2Fc'],
    ['100%', '100%25'],
    ['%2F', '%252F'],
    ['a+b c?d#e&f', 'a%2Bb%20c%3Fd%23e%26f'],
    ['日本', '%E6%97%A5%E6%9C%AC'],
    ["it's(1)*!", 'it%27s%281%29%2A%21'],
    ['a/../b', 'a%2F..%2Fb'],
  ])('%s is one path segment that decodes to itself', (key, segment) => {
    expect(keySegment(key)).toBe(segment)
    expect(new URL(`http://h/kv/${segment}`).pathname).toBe(`/kv/${segment}`)
    expect(decodeURIComponent(segment)).toBe(key)
  })

  it('is refused where it could not arrive as typed', () => {
    expect(keyProblem('')).toMatch(/needed/)
    expect(keyProblem('..')).toMatch(/browser/)
    expect(keyProblem('\ud800')).toMatch(/Unicode/)
    expect(keyProblem('é'.repeat(512))).toBeNull()
    expect(keyProblem('é'.repeat(513))).toMatch(/1026 bytes/)
  })
})
