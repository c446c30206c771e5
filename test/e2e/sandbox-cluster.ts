/** The sandbox, with an admin kubeconfig on disk like any other cluster. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { issueLoopbackCertificate } from '../../src/pki/profiles.ts'
import { realWorld } from '../../src/runtime.ts'
import type { AuditEvent } from '../../src/sandbox/audit.ts'
import { startSandbox } from '../../src/sandbox/server.ts'
import type { SuiteCluster } from './kubectl-suite.ts'

const silent = { info: () => {}, warn: () => {}, error: () => {} }

export interface SandboxCluster extends SuiteCluster {
  auditEvents(): Promise<readonly AuditEvent[]>
}

/** Starts one, in this very process; it ends with `stop`. */
export async function startSandboxCluster(): Promise<SandboxCluster> {
  const world = realWorld()
  const authority = await createAuthority(world, { commonName: 'sandbox' })
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const { pem } = await issueLoopbackCertificate(world, authority, { publicKeyDer }, 86_400)
  const serverTls = { certPem: pem, keyPem: privateKeyPem, caPem: authority.certificatePem }
  const sandbox = await startSandbox({ world, log: silent, serverTls })
  const directory = await mkdtemp(join(tmpdir(), 'mcm-test-sandbox-'))
  const adminKubeconfig = join(directory, 'admin')
  await writeFile(adminKubeconfig, sandbox.adminKubeconfig(), { mode: 0o600 })
  return {
    adminKubeconfig,
    auditEvents: async () => sandbox.auditEvents(),
    stop: async () => {
      await sandbox.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
