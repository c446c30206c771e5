import { tokenJudge } from '../client/provider-token.ts'
import { type Admission, plainDeviceName } from '../directory/admission.ts'
import { withAdmitted } from '../directory/admitted-directory.ts'
import type { Directory } from '../directory/directory.ts'
import { AccessDeniedError, UnreachableError } from '../errors.ts'
import { type PublicJwk, sha256 } from '../protocol/keys.ts'
import type { ShownToken } from '../protocol/messages.ts'
import type { World } from '../world.ts'

/**
 * People whom a token lets in (PROTOCOL §11). This agent judges every token itself, whatever the hub made of it;
 * what it judged it keeps in the Secret of the user, with the certificate.
 */
export interface TokenAdmissions {
  /** The directory with those who are admitted here at this moment. */
  directory(): Directory
  /** The same with one more, who is not kept yet. */
  directoryWith(admission: Admission): Directory
  /**
   * What a token admits the device to that has shown it; undefined when that is known already.
   * @throws IdentityError MCM_TOKEN_REFUSED, AccessDeniedError, UnreachableError
   */
  judge(shown: ShownToken, device: ProvenDevice): Promise<Admission | undefined>
}

/** Whose proof this connection has seen. */
export interface ProvenDevice {
  /** Key id. */
  readonly id: string
  readonly key: PublicJwk
}

export interface TokenAdmissionSources {
  readonly fleet: string
  readonly directory: { readonly directory: Directory }
  readonly principals: { admissions(): readonly Admission[] }
  readonly world: World
  /** The forward proxy for `HOST:PORT`, if any. */
  proxyFor(endpoint: string): string | undefined
}

/** Whoever waits for a provider that does not answer keeps nobody from renewing. */
const MAX_JUDGED_AT_ONCE = 4

export function tokenAdmissions(sources: TokenAdmissionSources): TokenAdmissions {
  const { fleet, principals, world } = sources
  const admitted = withAdmitted(() => world.now())
  const judge = tokenJudge({
    now: () => world.now(),
    proxyFor: ({ hostname, port }) => sources.proxyFor(`${hostname}:${port || 443}`),
  })
  let underWay = 0
  const chain = () => sources.directory.directory
  return {
    directory: () => admitted(chain(), principals.admissions()),
    directoryWith: (admission) => chain().admitting([...standing(sources), admission]),
    async judge({ token, salt, name }, device) {
      if (isKnown(sources, device.id, token)) return undefined
      const { providers } = chain().state
      if (providers.size === 0) throw noProvider()
      if (underWay >= MAX_JUDGED_AT_ONCE) throw busy()
      underWay += 1
      try {
        const holder = { fleet, device: device.id, token, salt }
        const { identity, ...judged } = await judge.judge(providers.values(), holder)
        return { ...judged, ...identity, device: { ...device, name: plainDeviceName(name) } }
      } finally {
        underWay -= 1
      }
    },
  }
}

function standing({ principals, world }: TokenAdmissionSources): Admission[] {
  const now = world.now()
  return principals.admissions().filter(({ until }) => until > now)
}

/** A token that was judged is not judged again: its provider may have forgotten the key. */
function isKnown(sources: TokenAdmissionSources, device: string, token: string): boolean {
  const tokenHash = sha256(token)
  return standing(sources).some((each) => each.device.id === device && each.tokenHash === tokenHash)
}

function noProvider(): AccessDeniedError {
  return new AccessDeniedError('MCM_FORBIDDEN', 'the fleet lets in nobody by a token', {
    hint: 'ask an administrator for an invite, or for mcm oidc set',
  })
}

function busy(): UnreachableError {
  return new UnreachableError('MCM_AGENT_UNREACHABLE', 'the agent is busy judging other tokens', {
    hint: 'try again in a moment',
  })
}
