/**
 * Does `work` for every item, so many at a time; results in the order of the items. After a first error nothing
 * more begins, and what has begun is waited for. @throws that error
 */
export async function inParallel<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const waiting = [...items.entries()]
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [index, item] = next
      try {
        results[index] = await work(item)
      } catch (error) {
        waiting.length = 0
        throw error
      }
    }
  }
  const workers = Array.from({ length: Math.min(limit, items.length) }, worker)
  for (const end of await Promise.allSettled(workers))
    if (end.status === 'rejected') throw end.reason
  return results
}
