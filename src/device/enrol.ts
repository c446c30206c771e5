import { signEnrolmentProof } from '../directory/proofs.ts'
import { type ClusterRecord, WHENEVER } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { AccessDeniedError, NotFoundError } from '../errors.ts'
import { createCsr, readCsr } from '../pki/csr.ts'
import { generateKeyPair, type KeyPair } from '../pki/key-pair.ts'
import { sha256 } from '../protocol/keys.ts'
import { ENROLMENT_EXPORTER_LABEL } from '../protocol/messages.ts'
import { openEnrolment } from './agent-connection.ts'
import type { CertificateFile } from './certificate-file.ts'
import { checkedCertificate } from './checked-certificate.ts'
import type { Obtained } from './kept-credential.ts'
import { ownerSigns } from './owner-issued.ts'
import { tokenToShow } from './shown-token.ts'
import type { DeviceState } from './state.ts'
import type { Traveller } from './way-to-agent.ts'

/**
 * Getting a certificate from a cluster's agent by the device key. What comes back is believed only if it
 * is for this person, this device and this key, and signed by the user CA that the directory names.
 */

/**
 * A new key pair and a certificate for it, proved by the device key on this very connection (PROTOCOL §8).
 * `replaces`: the fingerprint of the one it takes the place of.
 */
export async function enrol(
  traveller: Traveller,
  clusterId: string,
  replaces?: string,
): Promise<Obtained> {
  const { device, state, directory } = traveller
  const cluster = requireReachable(traveller, clusterId)
  if (cluster.issuer === 'local') throw ownerSigns(directory, cluster)
  const keyPair = generateKeyPair()
  const certificatePem = await device.progress.step(`certificate for ${cluster.name}`, () =>
    requestCertificate(traveller, cluster, keyPair, replaces),
  )
  const issued = { pem: certificatePem, publicKeyDer: keyPair.publicKeyDer }
  const file = checkedCertificate(device, state, cluster, issued)
  return { file: usedToItsEnd(state, file), key: keyPair.privateKeyPem }
}

function requireReachable({ directory, state }: Traveller, clusterId: string): ClusterRecord {
  const cluster = directory.state.clusters.get(clusterId)
  if (!cluster) {
    throw new NotFoundError('MCM_CLUSTER_UNKNOWN', `no cluster ${clusterId} is known to you`, {
      hint: 'mcm clusters lists them; mcm kubeconfig --remove takes old contexts out',
    })
  }
  if (directory.state.isMember(state.user, clusterId, WHENEVER)) return cluster
  throw new AccessDeniedError('MCM_NO_GRANT', `${state.user} is not a member of ${cluster.name}`, {
    hint: `ask an administrator for mcm grant ${state.user} --cluster ${cluster.name}`,
  })
}

async function requestCertificate(
  traveller: Traveller,
  cluster: ClusterRecord,
  keyPair: KeyPair,
  replaces: string | undefined,
): Promise<string> {
  const csr = await createCsr(keyPair.privateKeyPem)
  const { der } = await readCsr(csr)
  const { agent, exporter } = await openEnrolment(traveller, cluster)
  try {
    const proof = await signEnrolmentProof(traveller.key, {
      cluster: cluster.id,
      csr: sha256(der),
      exporter: exporter(ENROLMENT_EXPORTER_LABEL).toString('base64url'),
      time: formatTime(traveller.device.world.now()),
    })
    const oidc = await tokenToShow(traveller.device, traveller.state)
    const { head } = traveller.directory
    const issued = await agent.enrol({
      csr,
      proof,
      ...(oidc ? { oidc } : {}),
      ...(replaces === undefined ? {} : { replaces }),
      ...(head === null ? {} : { head }),
    })
    return issued.certificate
  } finally {
    agent.close()
  }
}

const NEAR_MS = 5_000

/** The last one of a login by a token: to renew it would only give the same end again and again. */
function usedToItsEnd({ provided }: DeviceState, file: CertificateFile): CertificateFile {
  if (!provided) return file
  const isLast = Date.parse(file.notAfter) >= provided.admission.until.getTime() - NEAR_MS
  return isLast ? { ...file, renewAfter: file.notAfter } : file
}
