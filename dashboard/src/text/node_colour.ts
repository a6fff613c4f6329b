/** One colour per worker, the same wherever it is shown. */

const COLOURS = 8

/** The CSS colour of worker `id`; numbers past the palette begin it again. */
export function nodeColour(id: number): string {
  return `var(--node-${((id - 1) % COLOURS) + 1})`
}
