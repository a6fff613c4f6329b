/** The ring as drawing: runs of neighbouring partitions that look alike, as arcs of a circle. */
import type { PreferenceLists } from '../wire/status'

/** More arcs than this cannot be told apart; of a ring with more partitions a sample is drawn. */
const MAX_SLOTS = 1024

/** Neighbouring slots of one look; turns from 0 to 1, clockwise from the top. */
export interface Arc {
  look: string
  from: number
  to: number
}

/** Cut the circle into arcs: one look for each partition's preference list. */
export function arcsOf(lists: PreferenceLists, lookOf: (replicas: readonly number[]) => string): Arc[] {
  const slots = Math.min(lists.length, MAX_SLOTS)
  const arcs: Arc[] = []
  for (let slot = 0; slot < slots; slot += 1) {
    const look = lookOf(lists[Math.floor((slot * lists.length) / slots)] ?? [])
    const last = arcs.at(-1)
    if (last?.look === look) last.to = (slot + 1) / slots
    else arcs.push({ look, from: slot / slots, to: (slot + 1) / slots })
  }
  return arcs
}

/** The path data of an arc of `radius` around 0,0. */
export function arcPath({ from, to }: Arc, radius: number): string {
  // A full circle has no ends to draw between: it is two halves.
  if (to - from >= 1) return arcPath({ look: '', from: 0, to: 0.5 }, radius) + arcPath({ look: '', from: 0.5, to: 0.9999 }, radius)
  const [x0, y0] = pointAt(from, radius)
  const [x1, y1] = pointAt(to, radius)
  return `M${x0} ${y0}A${radius} ${radius} 0 ${to - from > 0.5 ? 1 : 0} 1 ${x1} ${y1}`
}

function pointAt(turn: number, radius: number): [string, string] {
  const angle = turn * 2 * Math.PI
  return [(Math.sin(angle) * radius).toFixed(2), (-Math.cos(angle) * radius).toFixed(2)]
}
