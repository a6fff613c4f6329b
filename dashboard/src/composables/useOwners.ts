/** Who owns a key: asked again when the key is edited and when a worker comes or goes. */
import { ref, shallowRef, watch, type Ref } from 'vue'

import type { ClusterStore } from '../stores/cluster'
import { keyProblem, keySegment } from '../text/key'
import type { Owners } from '../wire/keys'
import { getJson } from '../wire/rest'
import { useRefresh } from './useRefresh'

/** The owners of `key`; null while there is no answer for what is typed. */
export function useOwners(key: () => string, store: ClusterStore): { owners: Readonly<Ref<Owners | null>>; problem: Readonly<Ref<string>> } {
  const owners = shallowRef<Owners | null>(null)
  const problem = ref('')

  async function load(signal: AbortSignal): Promise<void> {
    if (keyProblem(key()) !== null) return
    try {
      owners.value = await getJson<Owners>(`/partition/${keySegment(key())}`, signal)
      problem.value = ''
    } catch (error) {
      if (!signal.aborted) problem.value = error instanceof Error ? error.message : String(error)
    }
  }

  const refresh = useRefresh(load, 200, 200)
  watch(key, () => {
    owners.value = null
    problem.value = ''
    refresh.cancel()
    refresh.soon()
  })
  watch(
    () => [store.generation.value, ...[...store.workers.values()].map((worker) => `${worker.state} ${worker.partitions_led}`)].join(),
    refresh.soon,
  )
  return { owners, problem }
}
