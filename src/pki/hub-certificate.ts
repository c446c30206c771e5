import { messageOf, TrustError, UsageError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { World } from '../world.ts'
import { BACKDATE_MS, wholeSeconds } from './authority.ts'
import {
  type Certificate,
  isSignedBy,
  OID,
  p256PublicKey,
  parseCertificate,
} from './certificate.ts'
import { DerReader, derValue, readDer, readObjectIdentifier, TAG } from './der.ts'
import { type EndpointHost, endpointHost, isDnsName, isInternal } from './endpoint.ts'
import { publicKeyDerOf, readPrivateKey } from './key-pair.ts'
import { type MintedCertificate, mint } from './mint.ts'

/**
 * The hub's certificate. kubectl reads one bundle for the hub and for the cluster behind it, so this
 * certificate must not be able to sign for a cluster, in anybody's reading of X.509: it is an
 * end-entity certificate, and its name constraints exclude `internal`, because rustls takes every
 * listed certificate as a signer.
 */

const DNS_NAME = 0x82
const IP_ADDRESS = 0x87
const [PERMITTED, EXCLUDED] = [0xa0, 0xa1]
const DIGITAL_SIGNATURE = Buffer.from('03020780', 'hex')
const NO_AUTHORITY = Buffer.from('3000', 'hex')
const INTERNAL = 'internal'
const DAY_MS = 86_400_000
const KNOWN_EXTENSIONS: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectAlternativeName,
  OID.nameConstraints,
  OID.subjectKeyIdentifier,
  OID.authorityKeyIdentifier,
])

/**
 * A hub's self-signed leaf (PROTOCOL §4): CA:false, digitalSignature, serverAuth, SAN exactly the hosts of
 * `endpoints` (`HOST:PORT`, at least one), critical name constraints (RFC 5280 §4.2.1.10) permitting those and
 * excluding DNS `internal`. Valid 3650 days unless said: it is pinned as itself.
 * @throws UsageError MCM_BAD_NAME for an endpoint that no certificate may name
 */
export async function createHubCertificate(
  world: World,
  privateKeyPem: Secret<string>,
  endpoints: readonly string[],
  validityDays = 3650,
): Promise<MintedCertificate> {
  const hosts = hostsOf(endpoints)
  const signingKey = readPrivateKey(privateKeyPem)
  const now = wholeSeconds(world.now()).getTime()
  return mint(world, {
    subject: { commonName: 'mcm hub' },
    publicKeyDer: publicKeyDerOf(signingKey),
    signingKey,
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + validityDays * DAY_MS),
    role: {
      kind: 'leaf',
      usage: 'serverAuth',
      names: hosts.map((host) => ({ type: host.kind, value: host.name })),
      nameConstraints: nameConstraints(hosts),
    },
  })
}

/**
 * Refuses a certificate that is not what `createHubCertificate` makes: a CA, a wildcard, a name under `internal`,
 * name constraints missing, not critical or wider than the names, not self-signed, out of time; with
 * `endpoints`, also one that lacks the host of any of them.
 * @throws TrustError MCM_CERTIFICATE_UNTRUSTED
 */
export function checkHubCertificate(
  der: Buffer,
  options: { readonly endpoints?: readonly string[]; readonly now: Date },
): void {
  try {
    const certificate = parseCertificate(der)
    requireSelfSignedLeaf(certificate)
    const names = readNames(certificate)
    requireConstraints(certificate, names)
    requireInTime(certificate, options.now)
    for (const endpoint of options.endpoints ?? []) requireEndpoint(names, endpoint)
  } catch (error) {
    if (error instanceof TrustError) throw error
    throw untrusted(messageOf(error))
  }
}

/** Whether two thirds of its life are over: time for the next one. `der` is a certificate. */
export function isDueForNext(der: Buffer, now: Date): boolean {
  const { notBefore, notAfter } = parseCertificate(der)
  const [from, to] = [notBefore.getTime(), notAfter.getTime()]
  return now.getTime() > from + ((to - from) * 2) / 3
}

function hostsOf(endpoints: readonly string[]): EndpointHost[] {
  const hosts = endpoints.map((endpoint) => {
    const host = endpointHost(endpoint)
    if (host && !(host.kind === 'dns' && isInternal(host.name))) return host
    throw badEndpoint(`endpoint ${JSON.stringify(endpoint)} cannot stand in a certificate`)
  })
  if (hosts.length === 0) throw badEndpoint('a hub needs at least one endpoint')
  return [...new Map(hosts.map((host) => [host.name, host])).values()]
}

/** NameConstraints ::= SEQUENCE { permitted [0], excluded [1] }, each a list of subtrees. */
function nameConstraints(hosts: readonly EndpointHost[]): Buffer {
  const permitted = hosts.map((host) => derValue(TAG.sequence, subtree(host)))
  const excluded = derValue(TAG.sequence, derValue(DNS_NAME, Buffer.from(INTERNAL)))
  return derValue(TAG.sequence, derValue(PERMITTED, ...permitted), derValue(EXCLUDED, excluded))
}

/** A DNS name, or an address with the mask of a single host. */
function subtree(host: EndpointHost): Buffer {
  if (host.kind === 'dns') return derValue(DNS_NAME, Buffer.from(host.name))
  return derValue(IP_ADDRESS, host.bytes, Buffer.alloc(host.bytes.length, 0xff))
}

function requireSelfSignedLeaf(certificate: Certificate): void {
  const { extensions } = certificate
  if (!certificate.issuer.equals(certificate.subject)) throw untrusted('somebody else issued it')
  if (!isSignedBy(certificate, p256PublicKey(certificate.publicKeyDer)))
    throw untrusted('it is not signed by its own key')
  requireCritical(certificate, OID.basicConstraints, NO_AUTHORITY, 'it is a CA or does not deny it')
  requireCritical(certificate, OID.keyUsage, DIGITAL_SIGNATURE, 'its key may do more than a leaf’s')
  if (extendedKeyUsage(certificate) !== OID.serverAuth)
    throw untrusted('it is not for servers alone')
  for (const [id, { isCritical }] of extensions)
    if (isCritical && !KNOWN_EXTENSIONS.has(id)) throw untrusted(`extension ${id} is unknown`)
}

function requireCritical(certificate: Certificate, id: string, value: Buffer, why: string): void {
  const extension = certificate.extensions.get(id)
  if (!extension?.isCritical || !extension.value.equals(value)) throw untrusted(why)
}

function extendedKeyUsage(certificate: Certificate): string | undefined {
  const extension = certificate.extensions.get(OID.extendedKeyUsage)
  if (!extension) return undefined
  const list = new DerReader(readDer(extension.value, TAG.sequence).content)
  const usage = readObjectIdentifier(list.take(TAG.objectIdentifier).content)
  return list.isEmpty ? usage : undefined
}

/** The names as their subtrees in hex, so that names and constraints can be compared. */
function readNames(certificate: Certificate): ReadonlySet<string> {
  const extension = certificate.extensions.get(OID.subjectAlternativeName)
  if (!extension) throw untrusted('it names no host')
  const list = new DerReader(readDer(extension.value, TAG.sequence).content)
  const names = new Set<string>()
  while (!list.isEmpty) names.add(readAlternativeName(list))
  return names
}

function readAlternativeName(list: DerReader): string {
  const { tag, content } = list.next()
  if (tag === IP_ADDRESS && (content.length === 4 || content.length === 16))
    return derValue(IP_ADDRESS, content, Buffer.alloc(content.length, 0xff)).toString('hex')
  const name = content.toString('latin1')
  if (tag !== DNS_NAME || !isDnsName(name))
    throw untrusted(`${JSON.stringify(name)} is neither a host name nor an address`)
  if (isInternal(name)) throw untrusted(`${name} is a name of the inner layer`)
  return derValue(DNS_NAME, content).toString('hex')
}

function requireConstraints(certificate: Certificate, names: ReadonlySet<string>): void {
  const extension = certificate.extensions.get(OID.nameConstraints)
  if (!extension?.isCritical) throw untrusted('it has no critical name constraints')
  const lists = new DerReader(readDer(extension.value, TAG.sequence).content)
  const permitted = readSubtrees(lists.enter(PERMITTED))
  const excluded = readSubtrees(lists.enter(EXCLUDED))
  lists.end()
  const isExact = permitted.size === names.size && [...names].every((name) => permitted.has(name))
  if (!isExact) throw untrusted('its name constraints permit other names than its own')
  if (!excluded.has(derValue(DNS_NAME, Buffer.from(INTERNAL)).toString('hex')))
    throw untrusted('its name constraints do not exclude "internal"')
}

/** GeneralSubtree ::= SEQUENCE { base }: minimum and maximum are never used (RFC 5280 §4.2.1.10). */
function readSubtrees(list: DerReader): ReadonlySet<string> {
  const subtrees = new Set<string>()
  while (!list.isEmpty) {
    const fields = list.enter(TAG.sequence)
    subtrees.add(fields.next().raw.toString('hex'))
    fields.end()
  }
  return subtrees
}

function requireInTime({ notBefore, notAfter }: Certificate, now: Date): void {
  if (now >= notBefore && now <= notAfter) return
  const [from, to, here] = [notBefore, notAfter, now].map((each) => each.toISOString())
  throw untrusted(`it is valid from ${from} to ${to}, and this clock says ${here}`, {
    hint: 'set this clock if it is wrong; if it is right the hub has to renew its certificate',
  })
}

function requireEndpoint(names: ReadonlySet<string>, endpoint: string): void {
  const host = endpointHost(endpoint)
  if (!host || !names.has(subtree(host).toString('hex')))
    throw untrusted(`it does not name ${JSON.stringify(endpoint)}`)
}

function badEndpoint(why: string): UsageError {
  return new UsageError('MCM_BAD_NAME', why, {
    hint: 'use HOST:PORT with a DNS name outside "internal" or an address, as in hub.example.com:8443',
  })
}

const REPLACED = 'the hub may have been replaced; ask its operator for its pin before going on'

function untrusted(why: string, { hint } = { hint: REPLACED }): TrustError {
  const message = `the hub's certificate is refused: ${why}`
  return new TrustError('MCM_CERTIFICATE_UNTRUSTED', message, { hint })
}
