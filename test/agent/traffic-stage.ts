import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { type Ceiling, ceilingRole, readCeiling } from '../../src/access/ceiling.ts'
import type { ImpersonatorList } from '../../src/access/impersonator.ts'
import { presetCeiling } from '../../src/access/preset-ceiling.ts'
import { mayCaller } from '../../src/agent/access-review.ts'
import type { AuditEvent } from '../../src/agent/audit-event.ts'
import { type ListedCertificate, openAuthentication } from '../../src/agent/authenticate.ts'
import { impersonatorUpstream } from '../../src/agent/egress.ts'
import { enrolmentHandlers } from '../../src/agent/enrolment.ts'
import { trafficHandlers } from '../../src/agent/handlers.ts'
import { newServerCertificate } from '../../src/agent/server-certificates.ts'
import { type AgentServers, openAgentServers } from '../../src/agent/servers.ts'
import { openSessions, type Sessions } from '../../src/agent/sessions.ts'
import type { TrafficSources } from '../../src/agent/traffic.ts'
import { type LimitOptions, userLimits } from '../../src/agent/user-limits.ts'
import { signConsent } from '../../src/directory/consent.ts'
import type { SigningKey } from '../../src/directory/signing-key.ts'
import type { DirectoryState, TimedGrant } from '../../src/directory/state.ts'
import { DEFAULT_TIMEOUTS, type ListenerTimeouts } from '../../src/forward/listener-handlers.ts'
import { undiciUpstream } from '../../src/forward/undici-upstream.ts'
import { type Authority, createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { issueUserCertificate } from '../../src/pki/profiles.ts'
import { type PublicJwk, sha256 } from '../../src/protocol/keys.ts'
import type { CertificateUse, IssuedCertificate } from '../../src/protocol/messages.ts'
import { clusterHost, enrolmentHost } from '../../src/protocol/names.ts'
import { Secret } from '../../src/secret.ts'
import { serveTunnel } from '../../src/tunnel/agent-end.ts'
import { type HubTunnel, openTunnel } from '../../src/tunnel/hub-end.ts'
import type { Log, World } from '../../src/world.ts'
import {
  type Cleanup,
  httpsServer,
  SERVER_NAME,
  socketPair,
  type TestIdentity,
  testIdentity,
} from '../forward/stage.ts'

/** An agent's traffic side with everything around it in the test's hands, before a real HTTPS server. */

export const CLUSTER = 'c-abcdefghij'
export const HOST = clusterHost(CLUSTER)
export const ENROLMENT_HOST = enrolmentHost(CLUSTER)
/** As ClusterRole `mcm-ceiling` gives it where the owner set none. */
const ANYTHING = readCeiling(ceilingRole(presetCeiling([])))
export const TOKEN = 'the-impersonators-token'

/** A request as the API server got it. */
export interface Seen {
  readonly method: string
  readonly url: string
  readonly raw: readonly string[]
  readonly body: string
  /** Values of every line of that name, in lower case. */
  values(name: string): string[]
}

export interface Person {
  readonly user: string
  readonly groups: readonly string[]
  readonly device: string
  readonly certPem: string
  readonly keyPem: string
  readonly fingerprint: string
  readonly notAfter: Date
}

export interface PersonOptions {
  readonly groups?: readonly string[]
  readonly device?: string
  readonly lifetimeSeconds?: number
  /** Not on the list of issued certificates. */
  readonly isUnlisted?: boolean
  readonly authority?: Authority
  /** The device's key, which then consents to the certificate: an owner issues it. */
  readonly deviceKey?: SigningKey
  readonly isWithoutConsent?: boolean
  /** Consents in its place. */
  readonly consentBy?: SigningKey
  readonly consentFor?: { readonly cluster?: string; readonly publicKeyDer?: Buffer }
}

/** Everything the traffic side reads, changeable by the test. */
export interface Facts {
  now: Date
  isFresh: boolean
  isCeilingFresh: boolean
  areNamesFresh: boolean
  names: ImpersonatorList
  ceiling: Ceiling | undefined
  /** What a fresh look at the role gives. */
  freshNames: ImpersonatorList | undefined
  readonly listed: Map<string, ListedCertificate>
  /** What only the other replica knows yet. */
  readonly elsewhere: Map<string, { user: string; device: string }>
  readonly devices: Map<string, { user: string; revoked?: Date; key?: PublicJwk; until?: Date }>
  /** Fingerprints of user CAs whose time is over. */
  readonly replacedAuthorities: Set<string>
  readonly members: Set<string>
  /** What the directory says today. */
  readonly groups: Map<string, readonly string[]>
  /** Grants that end by themselves. */
  timedGrants: readonly TimedGrant[]
  readonly revokedBySecret: Map<string, Date>
  readonly lastExpiry: Map<string, Date>
  /** The end of the newest certificate of a device by a CA that counts. */
  readonly successors: Map<string, Date>
  tokens: string[]
  tokenError: Error | undefined
  issuer: 'agent' | 'local'
  /** What the agent was told to note, once per request. */
  readonly admitted: string[]
  /** Users whose Secret is damaged. */
  readonly unreadable: Set<string>
  /** Thrown where the directory must be confirmed. */
  unconfirmed: Error | undefined
  /** Whose a serial is, and who has put it into the bin. */
  readonly serials: Map<string, string>
  /** By key id: under which other names it was here. */
  readonly formerOwners: Map<string, readonly string[]>
  readonly purgedBy: Map<string, string>
  readonly uses: Map<string, CertificateUse>
  issued: (user: string | undefined, where: 'list' | 'bin') => IssuedCertificate[]
}

export interface TrafficStage {
  readonly facts: Facts
  readonly seen: Seen[]
  readonly audit: AuditEvent[]
  readonly log: string[]
  readonly servers: AgentServers
  readonly sessions: Sessions
  readonly sources: TrafficSources
  readonly userAuthority: Authority
  readonly serverAuthority: Authority
  readonly serverCaPem: string
  readonly apiServerPort: number
  /** Replaces the API server's answer. */
  answer: (request: Seen, response: ServerResponse, incoming: IncomingMessage) => void
  person(user: string, options?: PersonOptions): Promise<Person>
  /** An inner TLS connection; options override what an honest client would do. */
  connect(
    person: Person | undefined,
    options?: ConnectionOptions,
    kind?: 'session' | 'enrolment',
  ): Promise<TLSSocket>
  /** A raw stream that the agent has accepted. */
  stream(kind?: 'session' | 'enrolment', clientAddress?: string): Promise<Duplex>
  http1(person: Person): Promise<TLSSocket>
  http2(person: Person): Promise<ClientHttp2Session>
  /** One request over a fresh HTTP/1.1 connection, raw lines after the request line. */
  ask(person: Person, requestLine: string, ...lines: string[]): Promise<Answer>
  cutRevoked(user?: string): number
}

export interface Answer {
  readonly status: number
  readonly text: string
  readonly body: string
}

export interface StageOptions {
  readonly timeouts?: Partial<ListenerTimeouts>
  readonly handshakeTimeoutMs?: number
  readonly limits?: LimitOptions
  readonly apiServer?: { port: number; caPem: string }
}

interface Standing {
  readonly userAuthority: Authority
  readonly serverAuthority: Authority
  readonly identity: TestIdentity
  readonly certificates: Parameters<typeof openAgentServers>[0]['certificates']
}

let made: Promise<Standing> | undefined

/** CAs and certificates of servers, made once: it would take longer than most tests, and none changes them. */
function standing(): Promise<Standing> {
  made ??= makeStanding()
  return made
}

async function makeStanding(): Promise<Standing> {
  const world: World = { now: () => new Date(), random: (count) => randomBytes(count) }
  const userAuthority = await createAuthority(world, { commonName: 'user CA' })
  const serverAuthority = await createAuthority(world, { commonName: 'server CA' })
  const certificates = {
    session: await newServerCertificate(world, serverAuthority, HOST),
    enrolment: await newServerCertificate(world, serverAuthority, ENROLMENT_HOST),
  }
  return { userAuthority, serverAuthority, identity: await testIdentity(), certificates }
}

export async function openStage(ends: Cleanup, options: StageOptions = {}): Promise<TrafficStage> {
  const facts: Facts = {
    now: new Date(),
    isFresh: true,
    isCeilingFresh: true,
    areNamesFresh: true,
    names: { users: [], groups: [], isUnrestricted: false },
    ceiling: ANYTHING,
    freshNames: undefined,
    listed: new Map(),
    elsewhere: new Map(),
    replacedAuthorities: new Set(),
    devices: new Map(),
    members: new Set(),
    groups: new Map(),
    timedGrants: [],
    revokedBySecret: new Map(),
    lastExpiry: new Map(),
    successors: new Map(),
    tokens: [TOKEN],
    tokenError: undefined,
    issuer: 'agent',
    admitted: [],
    unreadable: new Set(),
    unconfirmed: undefined,
    serials: new Map(),
    formerOwners: new Map(),
    purgedBy: new Map(),
    uses: new Map(),
    issued: () => [],
  }
  const seen: Seen[] = []
  const audit: AuditEvent[] = []
  const lines: string[] = []
  const write = (event: string, fields?: object) =>
    void lines.push(`${event} ${JSON.stringify(fields ?? {})}`)
  const log: Log = { info: write, warn: write, error: write }
  const world: World = { now: () => facts.now, random: (count) => randomBytes(count) }
  const { userAuthority, serverAuthority, identity, certificates } = await standing()
  const stage = { answer: whoAmI } as { answer: TrafficStage['answer'] }
  const server = await httpsServer(identity, ends, async (incoming, response) => {
    let body = ''
    try {
      for await (const chunk of incoming) body += chunk
    } catch {
      // Cut off: an honest server does nothing then.
      return
    }
    const request = seenOf(incoming, body)
    seen.push(request)
    stage.answer(request, response, incoming)
  })
  const apiServer = undiciUpstream({
    name: 'the API server',
    host: '127.0.0.1',
    port: options.apiServer?.port ?? server.port,
    caPem: options.apiServer?.caPem ?? identity.caPem,
    serverName: SERVER_NAME,
    // A thousand connections at once take their time where test and API server are one busy process.
    connectTimeoutMs: 60_000,
  })
  ends.add(() => apiServer.close())
  const token = {
    current: async () => {
      if (facts.tokenError) throw facts.tokenError
      return new Secret(facts.tokens[0]!)
    },
    reload: async () => {
      if (facts.tokenError) throw facts.tokenError
      if (facts.tokens.length > 1) facts.tokens.shift()
      return new Secret(facts.tokens[0]!)
    },
  }
  const authentication = openAuthentication({
    world,
    cluster: CLUSTER,
    prefix: 'mcm:',
    get issuer() {
      return facts.issuer
    },
    certificates: {
      isFresh: () => facts.isFresh,
      find: (fingerprint) => facts.listed.get(fingerprint),
      lookUp: async (fingerprint) => {
        const found = facts.elsewhere.get(fingerprint)
        if (found) facts.listed.set(fingerprint, found)
        return found
      },
      isReadable: (user) => !facts.unreadable.has(user),
      lastExpiry: (user, device) => facts.lastExpiry.get(`${user} ${device}`),
      lastExpiryUnder: (user, device) => facts.successors.get(`${user} ${device}`),
      revocationOf: ({ user, device }) =>
        facts.revokedBySecret.get(user) ?? facts.revokedBySecret.get(device),
    },
    authorities: { accepts: (authority) => !facts.replacedAuthorities.has(authority) },
    noteAdmitted: (certificate) => facts.admitted.push(certificate.fingerprint),
    names: {
      isFresh: () => facts.areNamesFresh,
      current: () => facts.names,
      fresh: async () => {
        facts.names = facts.freshNames ?? facts.names
        return facts.names
      },
    },
    directory: {
      state: fakeState(facts),
      isFresh: () => true,
      requireConfirmed: () => {
        if (facts.unconfirmed) throw facts.unconfirmed
      },
    },
  })
  const sessions = openSessions((session) =>
    write('session_cut', { user: session.certificate.user }),
  )
  const throughImpersonator = impersonatorUpstream(apiServer, token, log, false)
  const sources: TrafficSources = {
    world,
    log,
    host: HOST,
    authentication,
    ceiling: { current: () => facts.ceiling, isFresh: () => facts.isCeilingFresh },
    apiServer: throughImpersonator,
    workloads: impersonatorUpstream(apiServer, token, log, true),
    token,
    review: (caller, question) => mayCaller(throughImpersonator, caller, question),
    own: {
      cluster: CLUSTER,
      protection: async () => ({
        names: facts.names,
        ceiling: facts.ceiling,
        server: 'constrained',
      }),
      policy: { botMaximumLifeSeconds: 86_400 },
      principals: {
        certificatesOf: (user, where) => facts.issued(user, where),
        revoke: async (order) => write('revoked', order),
        secretName: (user) => `mcm-principal-${user}`,
        ownersOf: (what) => {
          if ('serial' in what) return [facts.serials.get(what.serial) ?? []].flat()
          return [facts.formerOwners.get(what.device) ?? []].flat()
        },
        purge: async (order) => write('purged', order),
        purgedBy: (serial) => facts.purgedBy.get(serial),
        restore: async (order) => write('restored', order),
      },
      deviceOwner: (device) => facts.devices.get(device)?.user,
      devicesOf: (user) =>
        [...facts.devices].filter(([, each]) => each.user === user).map(([id]) => id),
      log,
      uses: { last: async () => facts.uses },
      witness: {
        hear: (user, head) => {
          write('heard', { user, ...head })
          return { head: null, lacks: '' }
        },
        take: async (by, read) => {
          const { statements } = await read()
          write('brought', { ...by, statements })
          return { seq: 0, hash: 'H'.repeat(43) }
        },
        takeFromHub: async () => ({ seq: 0, hash: 'H'.repeat(43) }),
        facts: () => ({ head: null }),
        notes: () => [],
      },
      authorities: {
        offer: async (order) => {
          write('authorities_asked', order)
          return { serverCa: 'AAAA', userCa: 'AAAA' }
        },
      },
      mayCaller: (caller, question) => mayCaller(throughImpersonator, caller, question),
    },
    limits: userLimits(options.limits),
    audit: (event) => void audit.push(event),
  }
  const servers = openAgentServers({
    world,
    log,
    userCas: () => [userAuthority.certificateDer],
    sessions,
    traffic: trafficHandlers(sources),
    enrolment: enrolmentHandlers({
      host: ENROLMENT_HOST,
      log,
      issuance: {
        enrol: async (body, exporter) => ({
          certificate: JSON.stringify({ body, exporter: Buffer.from(exporter).toString('hex') }),
          user: 'x',
          device: 'x',
          fingerprint: 'x',
        }),
      },
    }),
    hosts: { session: HOST, enrolment: ENROLMENT_HOST },
    certificates,
    timeouts: { ...DEFAULT_TIMEOUTS, ...options.timeouts },
    ...(options.handshakeTimeoutMs === undefined
      ? {}
      : { handshakeTimeoutMs: options.handshakeTimeoutMs }),
  })
  ends.add(() => servers.stop())

  const hub = await tunnelTo(ends, servers)
  const stream: TrafficStage['stream'] = async (kind = 'session', clientAddress = '192.0.2.7') => {
    const host = kind === 'session' ? HOST : ENROLMENT_HOST
    const carried = await hub.connect(`${host}:443`, { 'mcm-forwarded-for': clientAddress })
    carried.on('error', () => {})
    return carried
  }
  const connect: TrafficStage['connect'] = async (person, overrides = {}, kind = 'session') => {
    const socket = connectTls({
      socket: await stream(kind),
      ca: serverAuthority.certificatePem,
      servername: kind === 'session' ? HOST : ENROLMENT_HOST,
      ...(person && { cert: person.certPem, key: person.keyPem }),
      ...overrides,
    })
    socket.on('error', () => {})
    ends.add(() => socket.destroy())
    await new Promise<void>((done) => {
      socket.once('secureConnect', done)
      socket.once('close', () => done())
    })
    return socket
  }
  const http1 = (person: Person) => connect(person, { ALPNProtocols: ['http/1.1'] })
  return Object.assign(stage, {
    facts,
    seen,
    audit,
    log: lines,
    servers,
    sessions,
    sources,
    userAuthority,
    serverAuthority,
    serverCaPem: serverAuthority.certificatePem,
    apiServerPort: server.port,
    stream,
    connect,
    http1,
    http2: async (person: Person) => {
      const socket = await connect(person, { ALPNProtocols: ['h2'] })
      const session = connectHttp2(`https://${HOST}`, { createConnection: () => socket })
      session.on('error', () => {})
      ends.add(() => session.destroy())
      return session
    },
    ask: async (person: Person, requestLine: string, ...more: string[]) => {
      const socket = await http1(person)
      socket.write(`${[requestLine, ...more].join('\r\n')}\r\n\r\n`, 'latin1')
      return readAnswer(socket)
    },
    person: (user: string, more: PersonOptions = {}) =>
      newPerson(world, facts, userAuthority, user, more),
    cutRevoked: (user?: string) =>
      sessions.cutUnless(
        (session) => authentication.requireStillStanding(session.certificate, session),
        user,
      ),
  }) as unknown as TrafficStage
}

/** A real tunnel; what it carries is handed to the servers as it is. */
async function tunnelTo(ends: Cleanup, servers: AgentServers): Promise<HubTunnel> {
  const quiet = { log: { info: () => {}, warn: () => {}, error: () => {} } }
  const [near, far] = await socketPair(ends)
  // As on real tunnels: a handshake inside would wait for the kernel's delayed acknowledgements.
  for (const socket of [near, far]) socket.setNoDelay(true)
  serveTunnel(
    near,
    {
      request: async () => ({ status: 404, body: {} }),
      connect: (authority, headers, carried) =>
        servers.accept(
          authority.startsWith('enrol.') ? 'enrolment' : 'session',
          carried,
          headers['mcm-forwarded-for'] as string | undefined,
        ),
    },
    quiet,
  )
  const hub = openTunnel(far, quiet)
  ends.add(() => hub.stop())
  return hub
}

async function newPerson(
  world: World,
  facts: Facts,
  userAuthority: Authority,
  user: string,
  options: PersonOptions,
): Promise<Person> {
  const { groups = [], lifetimeSeconds = 3600, deviceKey, consentBy = deviceKey } = options
  const device = options.device ?? deviceKey?.id ?? sha256(`device of ${user}`)
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const asked = { cluster: CLUSTER, publicKeyDer, ...options.consentFor }
  const consent = options.isWithoutConsent
    ? undefined
    : consentBy && { consent: signConsent(consentBy, asked) }
  const subject = { publicKeyDer, user, groups, device, ...consent }
  const authority = options.authority ?? userAuthority
  const issued = await issueUserCertificate(world, authority, subject, lifetimeSeconds)
  if (!options.isUnlisted) facts.listed.set(issued.fingerprint, { user, device })
  facts.devices.set(device, { user, ...(deviceKey && { key: deviceKey.jwk }) })
  facts.members.add(user)
  facts.groups.set(user, groups)
  const users = [...new Set([...facts.names.users, `mcm:${user}`])]
  const listedGroups = [
    ...new Set([...facts.names.groups, ...groups.map((group) => `mcm:${group}`)]),
  ]
  facts.names = { ...facts.names, users, groups: listedGroups }
  const { pem, fingerprint, notAfter } = issued
  return {
    user,
    groups,
    device,
    certPem: pem,
    keyPem: privateKeyPem.reveal(),
    fingerprint,
    notAfter,
  }
}

function fakeState(facts: Facts): DirectoryState {
  const state: Pick<DirectoryState, 'deviceOwner' | 'isMember' | 'timedGrantsOf'> = {
    deviceOwner: (key) => {
      const owner = facts.devices.get(key)
      if (!owner) return undefined
      const since = new Date(0)
      const device = {
        id: key,
        name: 'laptop',
        since,
        key: owner.key,
        ...(owner.revoked && { revoked: owner.revoked }),
        ...(owner.until && { until: owner.until }),
      }
      return {
        user: { name: owner.user, groups: facts.groups.get(owner.user) ?? [] },
        device,
      } as unknown as ReturnType<DirectoryState['deviceOwner']>
    },
    isMember: (user) => facts.members.has(user),
    timedGrantsOf: (user, groups, _cluster, at) =>
      facts.timedGrants.filter(({ subject, expires }) => {
        const names = subject.kind === 'user' ? [user] : groups
        return names.includes(subject.name) && at < expires
      }),
  }
  return state as DirectoryState
}

function seenOf(incoming: IncomingMessage, body: string): Seen {
  const raw = incoming.rawHeaders
  const values = (name: string) =>
    raw.flatMap((key, index) =>
      index % 2 === 0 && key.toLowerCase() === name ? [raw[index + 1]!] : [],
    )
  return { method: incoming.method!, url: incoming.url!, raw, body, values }
}

/** Says as whom the request came. */
function whoAmI(request: Seen, response: ServerResponse): void {
  const body = JSON.stringify({
    user: request.values('impersonate-user'),
    groups: request.values('impersonate-group'),
  })
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length })
  response.end(body)
}

/** One answer with a length, or all until the end. */
export function readAnswer(socket: TLSSocket): Promise<Answer> {
  return new Promise((resolve) => {
    let text = ''
    const settle = () => {
      socket.off('data', onData)
      socket.off('close', settle)
      resolve(parse(text))
    }
    const onData = (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (isWhole(text)) settle()
    }
    socket.on('data', onData)
    socket.on('close', settle)
    if (socket.destroyed) settle()
  })
}

function isWhole(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return false
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end))?.[1]
  return length !== undefined && text.length >= end + 4 + Number(length)
}

function parse(text: string): Answer {
  const end = text.indexOf('\r\n\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0)
  return { status, text, body: end < 0 ? '' : text.slice(end + 4) }
}
