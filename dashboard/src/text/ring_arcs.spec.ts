import { expect, it } from 'vitest'

import { arcPath, arcsOf } from './ring_arcs'

it('neighbours that look alike are one arc', () => {
  const arcs = arcsOf([[1], [1], [2], [1]], ([primary]) => String(primary))
  expect(arcs).toEqual([
    { look: '1', from: 0, to: 0.5 },
    { look: '2', from: 0.5, to: 0.75 },
    { look: '1', from: 0.75, to: 1 },
  ])
})

it('a large ring is drawn by a sample that closes the circle', () => {
  const lists = Array.from({ length: 65_536 }, (_, partition) => [partition % 2])
  const arcs = arcsOf(lists, ([primary]) => String(primary))
  expect(arcs.length).toBeLessThanOrEqual(1024)
  expect(arcs.at(-1)?.to).toBe(1)
})

it('an arc starts at the top and runs clockwise', () => {
  expect(arcPath({ look: '', from: 0, to: 0.25 }, 10)).toBe('M0.00 -10.00A10 10 0 0 1 10.00 -0.00')
})

it('a full circle is drawn though its ends meet', () => {
  expect(arcPath({ look: '', from: 0, to: 1 }, 10).match(/A/g)).toHaveLength(2)
})
