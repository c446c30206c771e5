import { randomBytes } from 'node:crypto'
import { createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { issueLoopbackCertificate } from '../../src/pki/profiles.ts'
import {
  type RunningSandbox,
  type SandboxDeps,
  type SandboxOptions,
  startSandbox,
} from '../../src/sandbox/server.ts'
import type { Log, World } from '../../src/world.ts'

export const quiet: Log = { info() {}, warn() {}, error: (...said) => console.error(...said) }

/** A clock that stands until it is moved. */
export interface TestWorld extends World {
  pass(milliseconds: number): void
}

export function testWorld(): TestWorld {
  let passed = 0
  return {
    now: () => new Date(Date.now() + passed),
    random: (count) => randomBytes(count),
    pass: (milliseconds) => {
      passed += milliseconds
    },
  }
}

let serverTls: Promise<SandboxDeps['serverTls']> | undefined

/** One certificate for all sandboxes of a test file: making one takes a while. */
function loopbackTls(world: World): Promise<SandboxDeps['serverTls']> {
  serverTls ??= (async () => {
    const authority = await createAuthority(world, { commonName: 'sandbox CA' })
    const { privateKeyPem, publicKeyDer } = generateKeyPair()
    const { pem } = await issueLoopbackCertificate(world, authority, { publicKeyDer }, 86_400)
    return { certPem: pem, keyPem: privateKeyPem, caPem: authority.certificatePem }
  })()
  return serverTls
}

export async function runningSandbox(
  options: SandboxOptions = {},
  world: World = testWorld(),
  signal?: AbortSignal,
): Promise<RunningSandbox> {
  return startSandbox(
    { world, log: quiet, serverTls: await loopbackTls(world), ...(signal && { signal }) },
    options,
  )
}
