import { NS, type Stage } from './stage.ts'

/** Changes one object so often that its first revision, which is returned, is forgotten. */
export async function forget(on: Stage): Promise<string> {
  const path = `${NS}/configmaps`
  const { json } = await on.post(path, { metadata: { name: 'busy' } })
  const oldRevision = (json as { metadata: { resourceVersion: string } }).metadata.resourceVersion
  const touch = (index: number) =>
    on.ask({
      method: 'PATCH',
      path: `${path}/busy`,
      contentType: 'application/merge-patch+json',
      body: { data: { n: String(index) } },
    })
  for (let batch = 0; batch < 21; batch++)
    await Promise.all(Array.from({ length: 100 }, (_, index) => touch(batch * 100 + index)))
  return oldRevision
}
