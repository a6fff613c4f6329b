/** Figures as people read them. */

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** 1536 → "1.5 KiB". */
export function bytesText(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), BYTE_UNITS.length - 1)
  const amount = bytes / 1024 ** power
  return `${power === 0 || amount >= 100 ? amount.toFixed(0) : amount.toFixed(1)} ${BYTE_UNITS[power] ?? 'B'}`
}

/** Seconds → "42 s", "3 min", "5 h 10 min", "2 d 3 h". */
export function durationText(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return `${hours} h ${minutes % 60} min`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** Milliseconds of waiting → "870 ms", "1.4 s", then as durationText. */
export function delayText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return durationText(ms / 1000)
}

/** 12345 → "12 345" with a narrow no-break space, in any locale. */
export function countText(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, '\u202f')
}

/** An ISO timestamp → the local time of day with milliseconds; the text itself if it is none. */
export function clockText(timestamp: string): string {
  const at = new Date(timestamp)
  if (Number.isNaN(at.getTime())) return timestamp
  const [h, m, s] = [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0'))
  return `${h ?? ''}:${m ?? ''}:${s ?? ''}.${String(at.getMilliseconds()).padStart(3, '0')}`
}

/** 1, "copy", "copies" → "1 copy". */
export function counted(count: number, one: string, many: string): string {
  return `${countText(count)} ${count === 1 ? one : many}`
}
