/**
 * The log as shown: the store's newest lines behind a filter, held still while paused, and older
 * ones from the controller on request. Memory is bounded: MAX_LINES live and MAX_LINES older ones.
 */
import { computed, reactive, ref, shallowRef, watch, type ComputedRef, type Ref } from 'vue'

import { MAX_LINES, type ClusterStore } from '../stores/cluster'
import { NO_FILTER, passes, type LogFilter } from '../text/log_filter'
import type { LogLine, LogPage } from '../wire/logs'
import { getJson, queryOf } from '../wire/rest'
import { useRefresh } from './useRefresh'

const OLDER_LINES = 200

export interface LogTail {
  filter: LogFilter
  paused: Readonly<Ref<boolean>>
  /** Oldest first: in the order in which the controller had them, one request's lines by their own clock. */
  shown: ComputedRef<readonly LogLine[]>
  /** Lines that came while paused. */
  held: ComputedRef<number>
  /** Whether there may be older lines to fetch. */
  canGoBack: ComputedRef<boolean>
  problem: Readonly<Ref<string>>
  pause: () => void
  resume: () => void
  /** Pause, and fetch lines older than those shown that pass the filter. */
  loadOlder: () => void
}

function byTime(one: LogLine, other: LogLine): number {
  return one.timestamp < other.timestamp ? -1 : Number(one.timestamp > other.timestamp)
}

export function useLogTail(store: ClusterStore): LogTail {
  const filter = reactive<LogFilter>({ ...NO_FILTER })
  const frozen = shallowRef<readonly LogLine[] | null>(null)
  const older = shallowRef<readonly LogLine[]>([])
  const exhausted = ref(false)
  const problem = ref('')

  const live = computed(() => (frozen.value ?? store.lines.value).filter((line) => passes(line, filter)))
  const shown = computed(() => {
    const all = [...older.value, ...live.value]
    return filter.requestId ? all.toSorted(byTime) : all
  })
  const held = computed(() => {
    const last = frozen.value?.at(-1)?.seq ?? 0
    return frozen.value === null ? 0 : store.lines.value.filter((line) => line.seq > last).length
  })

  const request = useRefresh(fetchOlder, 0, 0)

  function forgetOlder(): void {
    request.cancel()
    older.value = []
    exhausted.value = false
    problem.value = ''
  }

  /** Where the lines that are known here begin: past ones that the filter hides too. */
  function oldestKnown(): number {
    return older.value[0]?.seq ?? (frozen.value ?? store.lines.value)[0]?.seq ?? 0
  }

  async function fetchOlder(signal: AbortSignal): Promise<void> {
    const { node, level, text, requestId } = filter
    const query = queryOf({ node, level, text, request_id: requestId, before: oldestKnown() || '', limit: OLDER_LINES })
    try {
      const page = await getJson<LogPage>(`/logs${query}`, signal)
      older.value = [...page.lines, ...older.value].slice(0, MAX_LINES)
      exhausted.value = page.next_before === null || older.value.length >= MAX_LINES
      problem.value = ''
    } catch (error) {
      if (!signal.aborted) problem.value = error instanceof Error ? error.message : String(error)
    }
  }

  watch(() => ({ ...filter }), forgetOlder)
  watch(store.generation, () => {
    forgetOlder()
    frozen.value = null
  })

  function pause(): void {
    frozen.value ??= store.lines.value
  }

  return {
    filter,
    paused: computed(() => frozen.value !== null),
    shown,
    held,
    canGoBack: computed(() => !exhausted.value),
    problem,
    pause,
    resume: () => {
      frozen.value = null
      forgetOlder()
    },
    loadOlder: () => {
      pause()
      request.now()
    },
  }
}
