import { z } from 'zod'
import type { ImpersonationForm } from '../access/impersonator.ts'
import type { KubernetesTransport } from '../client/kubernetes.ts'
import { messageOf } from '../errors.ts'
import type { Log, World } from '../world.ts'

/**
 * Which form of impersonation this API server has. Neither discovery nor its version tells (a feature gate
 * decides), so it is asked: the agent's own account, which may impersonate nobody, tries, and the
 * refusal names the verb that was missing. Nothing can come of it, and a wrong answer opens nothing:
 * a list in a form that the server does not have is a list of nobody.
 */
export interface ImpersonationSupport {
  /** Undefined when it cannot be told. At most a minute old. */
  current(): Promise<ImpersonationForm | undefined>
}

/** Whom nobody can be: a listed name has a prefix with a colon. */
const NOBODY = 'mcm-probe'
const MAXIMUM_AGE_MS = 60_000
/** Anybody with a session makes it be asked. */
const UNTOLD_MS = 10_000
const MAX_ANSWER_BYTES = 65_536

const refusalSchema = z.object({ message: z.string() })

/** `transport` speaks as service account `mcm-agent`. */
export function impersonationSupport(
  transport: KubernetesTransport,
  { world, log }: { readonly world: World; readonly log: Log },
): ImpersonationSupport {
  let known: { readonly form: ImpersonationForm | undefined; readonly at: number } | undefined
  let underWay: Promise<ImpersonationForm | undefined> | undefined
  async function ask(): Promise<ImpersonationForm | undefined> {
    const form = await probe(transport).catch((error: unknown) => {
      log.warn('impersonation_not_probed', { reason: messageOf(error) })
      return undefined
    })
    known = { form, at: world.now().getTime() }
    return form
  }
  return {
    async current() {
      const maximumAgeMs = known?.form === undefined ? UNTOLD_MS : MAXIMUM_AGE_MS
      if (known && Math.abs(world.now().getTime() - known.at) < maximumAgeMs) return known.form
      underWay ??= ask().finally(() => {
        underWay = undefined
      })
      return underWay
    },
  }
}

async function probe(transport: KubernetesTransport): Promise<ImpersonationForm | undefined> {
  const headers = { accept: 'application/json', 'impersonate-user': NOBODY }
  const answer = await transport({ method: 'GET', path: '/api', headers })
  const text = await readText(answer.body)
  if (answer.status !== 403) return undefined
  const refusal = refusalSchema.safeParse(JSON.parse(text))
  return refusal.success ? formOfRefusal(refusal.data.message) : undefined
}

/**
 * The words of apiserver `filters/impersonation`: the first mode that was tried is the one named, and the
 * constrained ones come first where they exist, for an account that never impersonated.
 */
export function formOfRefusal(message: string): ImpersonationForm | undefined {
  if (/ cannot impersonate(-on)?:user-info\b/.test(message)) return 'constrained'
  if (/ cannot impersonate resource "users" /.test(message)) return 'legacy'
  return undefined
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length <= MAX_ANSWER_BYTES) chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
