import { describe, expect, it } from 'vitest'

import { aLine } from '../testing/cluster'
import { NO_FILTER, passes } from './log_filter'

describe('a log filter', () => {
  const line = aLine(1, { node: 'worker-2', level: 'warning', event: 'sync_slow', request_id: 'r-1', fields: { path: '/Data' } })

  it.each([
    [{}, true],
    [{ node: 'worker-2' }, true],
    [{ node: 'worker-1' }, false],
    [{ level: 'info' }, true],
    [{ level: 'warning' }, true],
    [{ level: 'error' }, false],
    [{ text: 'SLOW' }, true],
    [{ text: '/data' }, true],
    [{ text: 'fast' }, false],
    [{ requestId: 'r-1' }, true],
    [{ requestId: 'r-' }, false],
  ] as const)('%j lets a line through: %s', (filter, expected) => {
    expect(passes(line, { ...NO_FILTER, ...filter })).toBe(expected)
  })
})
