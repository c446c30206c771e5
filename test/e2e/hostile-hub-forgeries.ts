/** Certificates for a cluster host that whoever owns a hub can make. None of them may open anything. */
import { createPrivateKey } from 'node:crypto'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { parseCertificate } from '../../src/pki/certificate.ts'
import { derValue, TAG } from '../../src/pki/der.ts'
import { generateKeyPair, publicKeyDerOf } from '../../src/pki/key-pair.ts'
import { pemOf } from '../../src/pki/mint.ts'
import { issueServerCertificate } from '../../src/pki/profiles.ts'
import { realWorld } from '../../src/runtime.ts'
import {
  alternatives,
  attribute,
  extension,
  forgeCertificate,
  keyIdentifierOfKey,
  nameOf,
  usages,
} from '../pki/forge.ts'
import type { HubIdentity } from './hostile-hub.ts'
import type { InnerIdentity } from './hostile-hub-canary.ts'

/** In the order of the attempts, by what they are. */
export async function forgeries(
  hub: HubIdentity,
  host: string,
): Promise<Readonly<Record<string, InnerIdentity>>> {
  const signedByHub = forgedBy(hub, host)
  const bare = signedByHub.chainPem
  const foreign = await createAuthority(realWorld(), { commonName: 'mcm server CA c-zzzzzzzzzz' })
  return {
    'signed by the hub’s key, its leaf in the chain': { ...signedByHub, chainPem: bare + hub.pem },
    'signed by the hub’s key, alone': signedByHub,
    'signed by a CA made of the hub’s name and key': {
      ...signedByHub,
      chainPem: bare + authorityOfHub(hub),
    },
    'signed by the hub’s key for itself': selfSigned(hub.keyPem, host, subjectOf(hub)),
    'self-signed by a new key': selfSigned(generateKeyPair().privateKeyPem.reveal(), host),
    'the hub’s own leaf': { chainPem: hub.pem, keyPem: hub.keyPem },
    'signed by the server CA of another cluster': await issuedBy(foreign, host),
  }
}

/** What the true agent would show, for those who hold its CA. */
export async function issuedBy(authority: Authority, host: string): Promise<InnerIdentity> {
  const { publicKeyDer, privateKeyPem } = generateKeyPair()
  const subject = { publicKeyDer, host }
  const { pem } = await issueServerCertificate(realWorld(), authority, subject, 3600)
  return { chainPem: pem, keyPem: privateKeyPem.reveal() }
}

/** A leaf for `host` that names the hub's certificate as its issuer and is signed by its key. */
export function forgedBy(hub: HubIdentity, host: string): InnerIdentity {
  const { publicKeyDer, privateKeyPem } = generateKeyPair()
  const chainPem = serverLeaf({
    host,
    publicKeyDer,
    subject: nameOf([attribute('commonName', host)]),
    issuer: subjectOf(hub),
    signingKeyPem: hub.keyPem,
  })
  return { chainPem, keyPem: privateKeyPem.reveal() }
}

function selfSigned(
  keyPem: string,
  host: string,
  name = nameOf([attribute('commonName', host)]),
): InnerIdentity {
  const publicKeyDer = publicKeyDerOf(createPrivateKey(keyPem))
  const fields = { host, publicKeyDer, subject: name, issuer: name, signingKeyPem: keyPem }
  return { chainPem: serverLeaf(fields), keyPem }
}

interface LeafFields {
  readonly host: string
  readonly publicKeyDer: Buffer
  readonly subject: Buffer
  readonly issuer: Buffer
  readonly signingKeyPem: string
}

function serverLeaf(fields: LeafFields): string {
  const signingKey = createPrivateKey(fields.signingKeyPem)
  const der = forgeCertificate({
    ...base(fields.subject, fields.issuer),
    publicKeyDer: fields.publicKeyDer,
    extensions: [
      extension('basicConstraints', '3000', true),
      extension('keyUsage', '03020780', true),
      usages('serverAuth'),
      alternatives([0x82, fields.host]),
      authorityKeyIdentifier(publicKeyDerOf(signingKey)),
    ],
    signingKey,
  })
  return pemOf('CERTIFICATE', der)
}

/** The hub's name and key once more, as the CA that its pinned certificate denies to be. */
export function authorityOfHub(hub: HubIdentity): string {
  return hubOnceMore(hub, [
    extension('basicConstraints', '30030101ff', true),
    extension('keyUsage', '03020204', true),
  ])
}

/** The hub's name and key once more, as a leaf without the name constraints. */
export function hubWithoutConstraints(hub: HubIdentity): string {
  return hubOnceMore(hub, [
    extension('basicConstraints', '3000', true),
    extension('keyUsage', '03020780', true),
    usages('serverAuth'),
  ])
}

function hubOnceMore(hub: HubIdentity, extensions: readonly Buffer[]): string {
  const signingKey = createPrivateKey(hub.keyPem)
  const publicKeyDer = publicKeyDerOf(signingKey)
  const keyIdentifier = derValue(TAG.octetString, keyIdentifierOfKey(publicKeyDer))
  const der = forgeCertificate({
    ...base(subjectOf(hub), subjectOf(hub)),
    publicKeyDer,
    extensions: [...extensions, extension('subjectKeyIdentifier', keyIdentifier)],
    signingKey,
  })
  return pemOf('CERTIFICATE', der)
}

function base(subject: Buffer, issuer: Buffer) {
  const [yesterday, tomorrow] = [-1, 1].map((days) => utcTime(Date.now() + days * 86_400_000))
  return {
    version: Buffer.of(2),
    serial: Buffer.from('5a'.repeat(16), 'hex'),
    hash: 'sha256' as const,
    notBefore: yesterday!,
    notAfter: tomorrow!,
    subject,
    issuer,
  }
}

function authorityKeyIdentifier(publicKeyDer: Buffer): Buffer {
  const id = derValue(0x80, keyIdentifierOfKey(publicKeyDer))
  return extension('authorityKeyIdentifier', derValue(TAG.sequence, id))
}

function subjectOf({ der }: HubIdentity): Buffer {
  return parseCertificate(der).subject
}

/** `YYMMDDHHMMSSZ` */
function utcTime(ms: number): string {
  return `${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`
}
