import { randomBytes, X509Certificate } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { impersonatorRole, NO_NAMES } from '../../src/access/impersonator.ts'
import { presetRoles } from '../../src/access/role.ts'
import type { Device } from '../../src/device/device.ts'
import { type FleetSession, withFleet } from '../../src/device/fleet-session.ts'
import { homeAt } from '../../src/device/home.ts'
import { createInvite } from '../../src/device/invite.ts'
import { login } from '../../src/device/login.ts'
import { completeRegistration, prepareRegistration } from '../../src/device/register.ts'
import type { KubernetesObject } from '../../src/kube/object.ts'
import { openSecretStore } from '../../src/store/secrets.ts'
import type { World } from '../../src/world.ts'
import type { FakeAgent } from './fake-agent.ts'
import { FakeHub } from './fake-hub.ts'

/** A clock that stands still until it is moved. It starts at the real time, which TLS goes by. */
export class MovableWorld implements World {
  #now = Date.now()

  now(): Date {
    return new Date(this.#now)
  }

  random(byteCount: number): Uint8Array {
    return randomBytes(byteCount)
  }

  advance(ms: number): void {
    this.#now += ms
  }
}

export const HOUR = 3_600_000
export const DAY = 24 * HOUR

export interface TestDevice extends Device {
  readonly said: string[]
  readonly world: MovableWorld
}

const directories: string[] = []

/** Another machine, with nothing on it. */
export async function newDevice(world: MovableWorld): Promise<TestDevice> {
  const directory = await mkdtemp(join(tmpdir(), 'mcm-device-'))
  directories.push(directory)
  const home = homeAt(join(directory, 'home'))
  return deviceAt(home.directory, world)
}

/** The same machine, as another process finds it. */
export async function deviceAt(directory: string, world: MovableWorld): Promise<TestDevice> {
  const home = homeAt(directory)
  const said: string[] = []
  const options = { directory: home.secrets, keychain: 'never', service: 'test' } as const
  return {
    world,
    home,
    said,
    secrets: await openSecretStore({ ...options, notify: (text) => said.push(text) }),
    progress: { step: (_label, work) => work(), say: (text) => void said.push(text) },
    signal: new AbortController().signal,
    proxyFor: () => undefined,
  }
}

export async function removeDevices(): Promise<void> {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true })
}

export interface TestFleet {
  readonly world: MovableWorld
  readonly hub: FakeHub
  readonly ada: TestDevice
}

/** A hub, and ada as its founder. */
export async function foundedFleet(): Promise<TestFleet> {
  const world = new MovableWorld()
  const hub = await FakeHub.start(world)
  const ada = await newDevice(world)
  await login(ada, loginOptions(hub.startLink, 'ada'))
  return { world, hub, ada }
}

export function loginOptions(link: string, user?: string) {
  const options = { link, deviceName: 'laptop', endpoint: 'public' } as const
  return user === undefined ? options : { ...options, user }
}

/** Registers a cluster as ada; its agent comes up at once. */
export async function registeredCluster(
  fleet: TestFleet,
  name: string,
  issuer?: 'local',
  labels: Readonly<Record<string, string>> = {},
): Promise<FakeAgent> {
  const options = { name, labels, endpoint: 'public', ...(issuer && { issuer }) } as const
  return withFleet(fleet.ada, async (session) => {
    const { registration, objects } = await prepareRegistration(session, options)
    const { id, pairingSecret } = registration
    const agent = await fleet.hub.registerAgent(id, pairingSecret, ownersCa(objects))
    for (const role of presetRoles())
      agent.api.put(
        `/apis/rbac.authorization.k8s.io/v1/clusterroles/${role.metadata.name.replace(':', '%3A')}`,
        role,
      )
    agent.api.put(IMPERSONATOR_PATH, impersonatorRole({ ...NO_NAMES, users: ['mcm:ada'] }))
    await completeRegistration(session, options, 60_000)
    return agent
  })
}

/** The user CA that agent.yaml carries, if any. */
export function ownersCa(objects: readonly KubernetesObject[]): Buffer | undefined {
  const secret = objects.find(({ kind }) => kind === 'Secret') as { data?: { userCa?: string } }
  const pem = secret.data?.userCa
  return pem === undefined ? undefined : new X509Certificate(Buffer.from(pem, 'base64')).raw
}

export const IMPERSONATOR_PATH = '/apis/rbac.authorization.k8s.io/v1/clusterroles/mcm-impersonator'

/** A link for somebody, made by ada. */
export async function inviteLink(
  fleet: TestFleet,
  user: string,
  groups: readonly string[] = [],
): Promise<string> {
  const options = { user, groups, expiresInMs: DAY, bot: false }
  const invite = await withFleet(fleet.ada, (session) => createInvite(session, options))
  return invite.link.reveal()
}

/** Somebody who has joined. */
export async function joinedDevice(
  fleet: TestFleet,
  user: string,
  groups: readonly string[] = [],
): Promise<TestDevice> {
  const device = await newDevice(fleet.world)
  await login(device, loginOptions(await inviteLink(fleet, user, groups)))
  return device
}

export function asAda<T>(
  fleet: TestFleet,
  work: (session: FleetSession) => Promise<T>,
): Promise<T> {
  return withFleet(fleet.ada, work)
}
