import type { Adapter, AdapterPayload } from 'oidc-provider'

/** What a provider remembers, where it outlives the provider: sessions, grants, refresh tokens. */
export function providerMemory(): (model: string) => Adapter {
  const kept = new Map<string, AdapterPayload>()
  const first = (model: string, fits: (payload: AdapterPayload) => boolean) =>
    [...kept].find(([key, payload]) => key.startsWith(`${model}:`) && fits(payload))?.[1]
  return (model) => ({
    upsert: async (id, payload) => void kept.set(`${model}:${id}`, payload),
    find: async (id) => kept.get(`${model}:${id}`),
    findByUserCode: async (code) => first(model, ({ userCode }) => userCode === code),
    findByUid: async (uid) => first(model, (payload) => payload.uid === uid),
    async consume(id) {
      const payload = kept.get(`${model}:${id}`)
      if (payload) payload.consumed = Math.floor(performance.now() / 1000)
    },
    destroy: async (id) => void kept.delete(`${model}:${id}`),
    async revokeByGrantId(grant) {
      for (const [key, { grantId }] of kept) if (grantId === grant) kept.delete(key)
    },
  })
}
