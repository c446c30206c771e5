import { X509Certificate } from 'node:crypto'
import { signEnrolmentProof } from '../directory/proofs.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { formatTime } from '../directory/time.ts'
import { AccessDeniedError, NotFoundError, TrustError } from '../errors.ts'
import { createCsr, readCsr } from '../pki/csr.ts'
import { generateKeyPair, type KeyPair } from '../pki/key-pair.ts'
import { readUserCertificate } from '../pki/user-certificate.ts'
import { sha256 } from '../protocol/keys.ts'
import { ENROLMENT_EXPORTER_LABEL } from '../protocol/messages.ts'
import type { Secret } from '../secret.ts'
import { openEnrolment } from './agent-connection.ts'
import { type CertificateFile, renewalTime } from './certificate-file.ts'
import type { FleetSession } from './fleet-session.ts'

/**
 * Getting a certificate from a cluster's agent by the device key. What comes back is believed only if it
 * is for this person, this device and this key, and signed by the user CA that the directory names.
 */
export interface Enrolled {
  readonly file: CertificateFile
  readonly key: Secret<string>
}

/** A new key pair and a certificate for it, proved by the device key on this very connection (PROTOCOL §8). */
export async function enrol(session: FleetSession, clusterId: string): Promise<Enrolled> {
  const cluster = requireReachable(session, clusterId)
  const keyPair = generateKeyPair()
  const certificatePem = await session.device.progress.step(`certificate for ${cluster.name}`, () =>
    requestCertificate(session, cluster, keyPair),
  )
  return {
    file: checkedFile(session, cluster, keyPair, certificatePem),
    key: keyPair.privateKeyPem,
  }
}

function requireReachable({ directory, state }: FleetSession, clusterId: string): ClusterRecord {
  const cluster = directory.state.clusters.get(clusterId)
  if (!cluster) {
    throw new NotFoundError('MCM_CLUSTER_UNKNOWN', `no cluster ${clusterId} is known to you`, {
      hint: 'mcm clusters lists them; mcm kubeconfig --remove takes old contexts out',
    })
  }
  if (directory.state.isMember(state.user, clusterId)) return cluster
  throw new AccessDeniedError('MCM_NO_GRANT', `${state.user} is not a member of ${cluster.name}`, {
    hint: `ask an administrator for mcm grant ${state.user} --cluster ${cluster.name}`,
  })
}

async function requestCertificate(
  session: FleetSession,
  cluster: ClusterRecord,
  keyPair: KeyPair,
): Promise<string> {
  const csr = await createCsr(keyPair.privateKeyPem)
  const { der } = await readCsr(csr)
  const { agent, exporter } = await openEnrolment(session, cluster)
  try {
    const proof = await signEnrolmentProof(session.key, {
      cluster: cluster.id,
      csr: sha256(der),
      exporter: exporter(ENROLMENT_EXPORTER_LABEL).toString('base64url'),
      time: formatTime(session.device.world.now()),
    })
    return (await agent.enrol({ csr, proof })).certificate
  } finally {
    agent.close()
  }
}

/** What an agent issued counts only if it is for this person, device and key. @throws TrustError */
function checkedFile(
  session: FleetSession,
  cluster: ClusterRecord,
  keyPair: KeyPair,
  pem: string,
): CertificateFile {
  const certificate = parsed(pem)
  const subject = readUserCertificate(certificate.raw, cluster.userCaDer)
  const publicKey = certificate.publicKey.export({ format: 'der', type: 'spki' })
  if (!publicKey.equals(keyPair.publicKeyDer)) throw untrusted(cluster, 'is for another key')
  if (subject.user !== session.state.user) throw untrusted(cluster, `names ${subject.user}`)
  if (subject.device !== session.key.id) throw untrusted(cluster, 'is for another device')
  if (subject.notAfter <= session.device.world.now()) throw untrusted(cluster, 'has expired')
  const chance = session.device.world.random(1)[0]! / 256
  return {
    certificate: pem,
    fingerprint: subject.fingerprint,
    user: subject.user,
    groups: subject.groups,
    notBefore: formatTime(subject.notBefore),
    notAfter: formatTime(subject.notAfter),
    renewAfter: formatTime(renewalTime(subject.notBefore, subject.notAfter, chance)),
    secrets: session.device.secrets.kind,
  }
}

function parsed(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw new TrustError('MCM_CERTIFICATE_UNTRUSTED', 'the agent sent no certificate', { cause })
  }
}

function untrusted(cluster: ClusterRecord, why: string): TrustError {
  return new TrustError(
    'MCM_CERTIFICATE_UNTRUSTED',
    `the certificate that ${cluster.name} issued ${why}`,
    { hint: 'nothing was kept; tell the owner of the cluster' },
  )
}
