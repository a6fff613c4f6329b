import { describe, expect, it } from 'vitest'

import { jsonProblem, laidOut, oneLine, parseExact } from './json'

describe('JSON text', () => {
  it.each(['1.0', '12345678901234567890', '1e400', '-0', '0.1', '{"a":[1.50,null,"1.0",true]}'])('%s keeps its numbers as sent', (text) => {
    expect(oneLine(parseExact(text))).toBe(text)
  })

  it('is laid out for reading', () => {
    expect(laidOut('{"a":[1.0]}')).toBe('{\n  "a": [\n    1.0\n  ]\n}')
  })

  it('is left as it is when it is no JSON', () => {
    expect(laidOut('<html>')).toBe('<html>')
  })

  it('is refused with a reason', () => {
    expect(jsonProblem(' ')).toMatch(/needed/)
    expect(jsonProblem('{"a":1,}')).toMatch(/Not JSON/)
    expect(jsonProblem('null')).toBeNull()
  })
})
