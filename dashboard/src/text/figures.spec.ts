import { expect, it } from 'vitest'

import { bytesText, clockText, countText, delayText, durationText } from './figures'

it('sizes are in binary units', () => {
  expect([0, 1023, 1024, 1536, 104_857_600].map(bytesText)).toEqual(['0 B', '1023 B', '1.0 KiB', '1.5 KiB', '100 MiB'])
})

it('durations have two units at most', () => {
  expect([5.9, 61, 3660, 180_000].map(durationText)).toEqual(['5 s', '1 min', '1 h 1 min', '2 d 2 h'])
})

it('delays are precise while they are short', () => {
  expect([12.4, 1400, 61_000].map(delayText)).toEqual(['12 ms', '1.4 s', '1 min'])
})

it('counts are grouped by three', () => {
  expect(countText(1_234_567)).toBe('1\u202f234\u202f567')
})

it('a timestamp that is none is shown as it is', () => {
  expect(clockText('yesterday')).toBe('yesterday')
  expect(clockText('2030-01-02T03:04:05.678Z')).toMatch(/^\d\d:\d\d:05\.678$/)
})
