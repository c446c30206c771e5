import { randomBytes } from 'node:crypto'
import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Duplex } from 'node:stream'
import { createServer, type TLSSocket } from 'node:tls'
import type { Directory } from '../../src/directory/directory.ts'
import { signPublication, verifyEnrolmentProof } from '../../src/directory/proofs.ts'
import { generateSigningKey } from '../../src/directory/signing-key.ts'
import { AccessDeniedError, IdentityError, isMcmError, type McmError } from '../../src/errors.ts'
import { failureStatus } from '../../src/kube/status.ts'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { readCsr } from '../../src/pki/csr.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { issueServerCertificate, issueUserCertificate } from '../../src/pki/profiles.ts'
import { readUserCertificate } from '../../src/pki/user-certificate.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import type {
  AuthoritiesOrder,
  ClusterFacts,
  DirectoryAppend,
  Head,
  IssuedCertificate,
  OfferedAuthorities,
  Whoami,
} from '../../src/protocol/messages.ts'
import { clusterHost, enrolmentHost } from '../../src/protocol/names.ts'
import type { Secret } from '../../src/secret.ts'
import type { World } from '../../src/world.ts'
import { FakeApiServer } from './fake-api-server.ts'

/** An agent as a person's machine meets it: real TLS, real certificates, an API server of a few objects. */
export class FakeAgent {
  readonly id: string
  readonly #world: World
  serverCa: Authority
  userCa: Authority
  /** Those that wait to be signed, once it was asked for them. */
  next: { serverCa: Authority; userCa: Authority | undefined; ownersCaDer?: Buffer } | undefined
  /** Offered in place of its own, as a broken agent might. */
  offerInstead: OfferedAuthorities | undefined
  readonly api = new FakeApiServer()
  /** The directory the agent acts by; the hub sets it. */
  directory: () => Directory
  issued = 0
  revocations: unknown[] = []
  /** Thrown for every revocation. */
  revocationRefusal: McmError | undefined
  lifetimeSeconds = 12 * 3600
  /** What it says of its cluster. */
  facts: ClusterFacts = {
    impersonation: { list: 'legacy', isUnrestricted: false, server: 'legacy' },
    ceiling: 'none',
  }
  /** Heads that clients have named, and what they have brought. */
  heads: unknown[] = []
  brought: DirectoryAppend[] = []
  /** Thrown for all that is brought. */
  bringingRefusal: McmError | undefined
  /** The head it says it has; that of its directory unless told. */
  head: Head | undefined
  /** Which details it says it lacks. */
  lacks = ''
  /** What it lists, and what was asked of it. */
  certificates: IssuedCertificate[] = []
  asked: string[] = []
  mayListAll = true
  binned: [kind: 'purge' | 'restore', serial: string][] = []
  /** What devices asked for. */
  enrolled: { readonly replaces?: string; readonly head?: Head }[] = []
  /** Thrown for every enrolment. */
  refusal: McmError | undefined
  /** Fingerprints that are on the allowlist no more. */
  readonly unlisted = new Set<string>()
  /** Issues for another user or device, as a broken agent might. */
  issueAs: { user?: string; device?: string; publicKeyDer?: Buffer } = {}
  /** Where the owner issues: the user CA that agent.yaml brought, and the agent has no key of it. */
  ownersCaDer: Buffer | undefined
  /** Thrown for whatever a session asks, and how often it was. */
  sessionRefusal: McmError | undefined
  sessionsRefused = 0
  /** Shakes hands, and ends every connection on which something is asked: as a hub may, too. */
  hangsUp = false
  /** Answers the inner handshake with certificates of this CA. */
  impostor: Authority | undefined

  private constructor(
    world: World,
    id: string,
    cas: { serverCa: Authority; userCa: Authority },
    directory: () => Directory,
  ) {
    this.#world = world
    this.id = id
    this.serverCa = cas.serverCa
    this.userCa = cas.userCa
    this.directory = directory
  }

  static async create(world: World, id: string, directory: () => Directory): Promise<FakeAgent> {
    const serverCa = await createAuthority(world, { commonName: `server ${id}` })
    const userCa = await createAuthority(world, { commonName: `users ${id}` })
    return new FakeAgent(world, id, { serverCa, userCa }, directory)
  }

  readonly key = generateSigningKey()

  publication(secret: Secret<string>): Promise<string> {
    return signPublication(secret, {
      cluster: this.id,
      serverCa: this.serverCa.certificateDer.toString('base64'),
      userCa: this.#userCaDer().toString('base64'),
      agentKey: this.key.jwk,
    })
  }

  /** Its clock says that the overlap is over. */
  useNext(): void {
    const { serverCa, userCa, ownersCaDer } = this.next!
    this.serverCa = serverCa
    this.userCa = userCa ?? this.userCa
    this.ownersCaDer = ownersCaDer ?? this.ownersCaDer
    this.next = undefined
  }

  async #offer({ userCa }: AuthoritiesOrder): Promise<OfferedAuthorities> {
    const make = (commonName: string) => createAuthority(this.#world, { commonName })
    const made =
      userCa === undefined
        ? { serverCa: await make('next server'), userCa: await make('next users') }
        : {
            serverCa: await make('next server'),
            userCa: undefined,
            ownersCaDer: Buffer.from(userCa, 'base64'),
          }
    // Of two who ask at once the first to be written is everybody's.
    this.next ??= made
    const own = {
      serverCa: this.next.serverCa.certificateDer.toString('base64'),
      userCa: userCa ?? this.next.userCa!.certificateDer.toString('base64'),
    }
    return this.offerInstead ?? own
  }

  /** The next one issues, and counts, from when it is signed. */
  #signedUserCa(): Authority | undefined {
    const signed = this.directory().state.clusters.get(this.id)?.userCaDer
    const next = this.next?.userCa
    return next && signed?.equals(next.certificateDer) ? next : undefined
  }

  #userCas(): Buffer[] {
    const next = this.#signedUserCa()?.certificateDer ?? this.next?.ownersCaDer
    return next ? [next, this.#userCaDer()] : [this.#userCaDer()]
  }

  #userCaDer(): Buffer {
    return this.ownersCaDer ?? this.userCa.certificateDer
  }

  async accept(authority: string, stream: Duplex): Promise<void> {
    const host = authority.replace(/:443$/, '')
    const isEnrolment = host === enrolmentHost(this.id)
    if (!isEnrolment && host !== clusterHost(this.id)) return void stream.destroy()
    const keyPair = generateKeyPair()
    const { publicKeyDer } = keyPair
    const authorityUsed = this.impostor ?? this.serverCa
    const own = await issueServerCertificate(
      REAL_TIME,
      authorityUsed,
      { publicKeyDer, host },
      86_400,
    )
    const server = createServer({
      cert: own.pem,
      key: keyPair.privateKeyPem.reveal(),
      requestCert: !isEnrolment,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
    })
    server.on('tlsClientError', () => {})
    server.on('secureConnection', (socket) => this.#serve(socket, isEnrolment))
    server.emit('connection', stream)
  }

  #serve(socket: TLSSocket, isEnrolment: boolean): void {
    if (socket.destroyed) return
    socket.on('error', () => {})
    const session = performServerHandshake(socket)
    session.on('error', () => {})
    session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      if (this.hangsUp) return void socket.destroy()
      this.#answer(socket, isEnrolment, stream, headers).catch((error) =>
        answerError(stream, error),
      )
    })
  }

  async #answer(
    socket: TLSSocket,
    isEnrolment: boolean,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
  ): Promise<void> {
    const text = await readAll(stream)
    const path = String(headers[':path'])
    const method = String(headers[':method'])
    if (isEnrolment) return answerJson(stream, 201, await this.#enrol(socket, JSON.parse(text)))
    const user = this.#identify(socket)
    if (this.sessionRefusal) {
      this.sessionsRefused += 1
      throw this.sessionRefusal
    }
    if (path === '/.mcm/v1/revocations') {
      if (this.revocationRefusal) throw this.revocationRefusal
      this.revocations.push(JSON.parse(text))
      return answerJson(stream, 200, {})
    }
    if (path === '/.mcm/v1/authorities')
      return answerJson(stream, 200, await this.#offer(JSON.parse(text)))
    if (path === '/.mcm/v1/head') {
      this.heads.push(JSON.parse(text))
      return answerJson(stream, 200, {
        head: this.head ?? this.directory().head,
        lacks: this.lacks,
      })
    }
    if (path === '/.mcm/v1/directory') {
      if (this.bringingRefusal) throw this.bringingRefusal
      this.brought.push(JSON.parse(text))
      return answerJson(stream, 200, { head: this.directory().head })
    }
    if (path.startsWith('/.mcm/v1/certificates')) {
      this.asked.push(path)
      const where = path.includes('in=bin') ? 'bin' : 'list'
      const own = (each: IssuedCertificate) => path.includes('of=all') || each.user === user
      const isThere = (each: IssuedCertificate) => (each.purged ? 'bin' : 'list') === where
      if (path.includes('of=all') && !this.mayListAll)
        throw new AccessDeniedError('MCM_FORBIDDEN', 'you may see your own certificates only')
      return answerJson(stream, 200, this.certificates.filter(own).filter(isThere))
    }
    if (path === '/.mcm/v1/purges' || path === '/.mcm/v1/restorations') {
      const kind = path.endsWith('purges') ? 'purge' : 'restore'
      this.binned.push([kind, JSON.parse(text).serial])
      return answerJson(stream, 200, {})
    }
    if (path === '/.mcm/v1/cluster') return answerJson(stream, 200, this.facts)
    if (path === '/.mcm/v1/whoami') return answerJson(stream, 200, this.#whoami(socket))
    const answer = this.api.request(method, path, text, user)
    answerJson(stream, answer.status, answer.body)
  }

  #whoami(socket: TLSSocket): Whoami {
    const certificate = this.#certificate(socket)
    const { user, groups, device, fingerprint, notBefore, notAfter } = certificate
    const times = { notBefore: notBefore.toISOString(), notAfter: notAfter.toISOString() }
    const impersonates = { user: `mcm:${user}`, groups: [] }
    return {
      user,
      groups: [...groups],
      cluster: this.id,
      device,
      certificate: { fingerprint, ...times },
      impersonates,
    }
  }

  #certificate(socket: TLSSocket) {
    return readUserCertificate(socket.getPeerCertificate().raw, this.#userCas())
  }

  #identify(socket: TLSSocket): string {
    const certificate = this.#certificate(socket)
    if (this.unlisted.has(certificate.fingerprint))
      throw new IdentityError('MCM_CERTIFICATE_UNKNOWN', 'this certificate is not known')
    if (certificate.notAfter <= this.#world.now())
      throw new IdentityError('MCM_CERTIFICATE_EXPIRED', 'this certificate has expired')
    return certificate.user
  }

  async #enrol(
    socket: TLSSocket,
    body: { csr: string; proof: string; replaces?: string; head?: Head },
  ): Promise<{ certificate: string }> {
    if (this.refusal) throw this.refusal
    if (this.ownersCaDer) throw new AccessDeniedError('MCM_FORBIDDEN', 'this agent issues nothing')
    const { keyId, payload } = await verifyEnrolmentProof(body.proof)
    const { der, publicKeyDer } = await readCsr(body.csr)
    const exporter = socket.exportKeyingMaterial(32, 'EXPORTER-mcm-enrol-v1', Buffer.alloc(0))
    const isBound =
      payload.csr === sha256(der) &&
      payload.cluster === this.id &&
      payload.exporter === exporter.toString('base64url')
    if (!isBound)
      throw new IdentityError('MCM_DEVICE_UNKNOWN', 'the proof is of another connection')
    const { state } = this.directory()
    const owner = state.deviceOwner(keyId)
    if (!owner || !state.isLiveDevice(keyId))
      throw new AccessDeniedError('MCM_REVOKED', 'this device has been revoked')
    if (!state.isMember(owner.user.name, this.id))
      throw new AccessDeniedError('MCM_NO_GRANT', 'no grant on this cluster')
    const subject = {
      publicKeyDer: this.issueAs.publicKeyDer ?? publicKeyDer,
      user: this.issueAs.user ?? owner.user.name,
      groups: owner.user.groups,
      device: this.issueAs.device ?? keyId,
    }
    this.issued += 1
    this.enrolled.push(body)
    const issued = await issueUserCertificate(
      this.#world,
      this.#signedUserCa() ?? this.userCa,
      subject,
      this.lifetimeSeconds,
    )
    return { certificate: issued.pem }
  }
}

/** TLS itself goes by the clock of the machine. */
const REAL_TIME: World = { now: () => new Date(), random: (byteCount) => randomBytes(byteCount) }

/** Iterating to the end would destroy the stream, which still has to be answered on. */
export function readAll(stream: ServerHttp2Stream): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.once('end', () => resolve(Buffer.concat(chunks).toString()))
    stream.once('error', reject)
  })
}

export function answerJson(stream: ServerHttp2Stream, status: number, body: unknown): void {
  if (stream.destroyed) return
  stream.respond({ ':status': status, 'content-type': 'application/json' })
  stream.write(JSON.stringify(body))
  // Not in the same read as the head: how an answer is cut into reads is nothing to rely on here.
  setTimeout(() => stream.end(), 1)
}

export function answerError(stream: ServerHttp2Stream, error: unknown): void {
  if (!isMcmError(error)) {
    answerJson(stream, 500, failureStatus(500, 'Bug', String(error)))
    return
  }
  const { httpStatus, reason, message, code, hint } = error
  const status = code === 'MCM_CONFLICT' ? 409 : httpStatus
  answerJson(stream, status, {
    ...failureStatus(status, reason, message),
    mcm: { code, ...(hint === undefined ? {} : { hint }) },
  })
}
