import { X509Certificate } from 'node:crypto'
import { type AddressInfo, createServer } from 'node:net'
import { z } from 'zod'
import { StateError } from '../errors.ts'
import { createAuthority } from '../pki/authority.ts'
import { generateKeyPair } from '../pki/key-pair.ts'
import { issueLoopbackCertificate, issueUserCertificate } from '../pki/profiles.ts'
import type { Secret } from '../secret.ts'
import { withFileLock } from '../store/files.ts'
import type { Device } from './device.ts'
import { type JsonFile, readJsonFile, writeJsonFile } from './json-file.ts'
import { requireState } from './state.ts'

/**
 * The door of `mcm proxy` on this machine: its own small CA, the proxy's certificate, and the certificate
 * and key that kubeconfigs hold to be let in. Made once and kept, so kubeconfigs stay good; the CA's
 * own key is thrown away at once, so nobody can ever sign with it again.
 */
export interface LocalProxy {
  /** The port kubeconfigs name; the proxy takes it again. */
  readonly port: number
  readonly caPem: string
  readonly server: { readonly certPem: string; readonly keyPem: Secret<string> }
  readonly client: { readonly certPem: string; readonly keyPem: Secret<string> }
}

const FAVOURITE_PORT = 7443
const SERVER_KEY = 'local-proxy-server-key'
const CLIENT_KEY = 'local-proxy-client-key'
export const LOCAL_PROXY_SECRETS = [SERVER_KEY, CLIENT_KEY]
const DAY_SECONDS = 86_400
const VALIDITY_DAYS = 399
const LIFETIME_SECONDS = (VALIDITY_DAYS - 1) * DAY_SECONDS
/** So near to their end everything is made anew, and kubeconfigs have to be written again. */
const LAST_DAYS = 30

const schema = z.object({
  version: z.number(),
  port: z.int().min(1).max(65_535),
  ca: z.string(),
  server: z.string(),
  client: z.string(),
})
type LocalProxyFile = z.infer<typeof schema>

const FILE: JsonFile<LocalProxyFile> = {
  version: 1,
  schema,
  remedy:
    'remove it: mcm proxy makes a new one, then run mcm kubeconfig --mode proxy --merge again',
}

/**
 * What is kept, made now when there is nothing yet. About once a year it is made anew, which `progress`
 * tells with what to do. @throws IdentityError MCM_NOT_LOGGED_IN, StateError
 */
export async function localProxy(device: Device): Promise<LocalProxy> {
  const path = device.home.localProxy
  await requireState(device.home)
  return withFileLock(path, async () => {
    const file = await readJsonFile(path, FILE)
    if (!file) return make(device, await freePort())
    if (!isEnding(file, device.world.now())) return withKeys(device, file)
    device.progress.say(
      'the certificates of the local proxy were renewed: mcm kubeconfig --all --mode proxy --merge',
    )
    return make(device, file.port)
  })
}

/** What is kept, as it is; undefined when nothing was ever made here. @throws StateError */
export async function storedLocalProxy(device: Device): Promise<LocalProxy | undefined> {
  const file = await readJsonFile(device.home.localProxy, FILE)
  return file && withKeys(device, file)
}

function isEnding(file: LocalProxyFile, now: Date): boolean {
  const end = new X509Certificate(file.client).validToDate.getTime()
  return end - now.getTime() < LAST_DAYS * DAY_SECONDS * 1000
}

/** Keeps the port that the proxy listens on, for the kubeconfigs written from now on. */
export async function keepProxyPort(device: Device, port: number): Promise<void> {
  const path = device.home.localProxy
  await withFileLock(path, async () => {
    const file = await readJsonFile(path, FILE)
    if (file && file.port !== port) await writeJsonFile(path, FILE, { ...file, port })
  })
}

async function withKeys(device: Device, file: LocalProxyFile): Promise<LocalProxy> {
  const serverKey = await device.secrets.get(SERVER_KEY)
  const clientKey = await device.secrets.get(CLIENT_KEY)
  if (!serverKey || !clientKey) {
    throw new StateError('MCM_STATE_DAMAGED', 'the keys of the local proxy are gone', {
      hint: `remove ${device.home.localProxy}, then run mcm kubeconfig --mode proxy --merge again`,
    })
  }
  return {
    port: file.port,
    caPem: file.ca,
    server: { certPem: file.server, keyPem: serverKey },
    client: { certPem: file.client, keyPem: clientKey },
  }
}

async function make(device: Device, port: number): Promise<LocalProxy> {
  const { world, secrets, home } = device
  const commonName = `mcm proxy ${Buffer.from(world.random(6)).toString('hex')}`
  const authority = await createAuthority(world, { commonName, validityDays: VALIDITY_DAYS })
  const server = generateKeyPair()
  const client = generateKeyPair()
  const { publicKeyDer } = server
  const own = await issueLoopbackCertificate(world, authority, { publicKeyDer }, LIFETIME_SECONDS)
  const local = { user: 'local', groups: [], device: NO_DEVICE }
  const caller = await issueUserCertificate(
    world,
    authority,
    { ...local, publicKeyDer: client.publicKeyDer },
    LIFETIME_SECONDS,
  )
  await secrets.set(SERVER_KEY, server.privateKeyPem)
  await secrets.set(CLIENT_KEY, client.privateKeyPem)
  const certificates = { ca: authority.certificatePem, server: own.pem, client: caller.pem }
  const file = { version: FILE.version, port, ...certificates }
  await writeJsonFile(home.localProxy, FILE, file)
  return withKeys(device, file)
}

/** The certificate says nothing about a device of the fleet: it opens one door on one machine. */
const NO_DEVICE = 'A'.repeat(43)

/** The favourite port when nobody has it, else any: it is written into kubeconfigs, and kept from then on. */
async function freePort(): Promise<number> {
  return (await tryPort(FAVOURITE_PORT)) ?? (await tryPort(0)) ?? FAVOURITE_PORT
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => {
      const { port: found } = server.address() as AddressInfo
      server.close(() => resolve(found))
    })
  })
}
