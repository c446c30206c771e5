import { z } from 'zod'
import type { NewClusterAnswer } from '../protocol/messages.ts'
import { Secret } from '../secret.ts'
import { deleteFile } from '../store/files.ts'
import type { Device } from './device.ts'
import { joinTokenName, pairingSecretName, registrationPath } from './home.ts'
import { type JsonFile, readJsonFile, writeJsonFile } from './json-file.ts'

/** A registration under way, kept until the cluster stands in the directory: Ctrl-C costs nothing. */
export interface Registration {
  readonly name: string
  readonly id: string
  /** RFC 3339: until when the join token is good. */
  readonly expires: string
  readonly joinToken: Secret<string>
  /** 256 bits, base64url; the hub never sees it. */
  readonly pairingSecret: Secret<string>
}

const schema = z.object({
  version: z.number(),
  name: z.string(),
  id: z.string(),
  expires: z.string(),
})

const REGISTRATION: JsonFile<z.infer<typeof schema>> = {
  version: 1,
  schema,
  remedy: 'remove it and register again',
}

const PAIRING_SECRET_BYTES = 32

/** The one under way for this name, or undefined; one without its secrets is as good as none. */
export async function readRegistration(
  device: Device,
  name: string,
): Promise<Registration | undefined> {
  const file = await readJsonFile(registrationPath(device.home, name), REGISTRATION)
  if (!file) return undefined
  const joinToken = await device.secrets.get(joinTokenName(file.id))
  const pairingSecret = await device.secrets.get(pairingSecretName(file.id))
  if (!joinToken || !pairingSecret) return undefined
  return { name: file.name, id: file.id, expires: file.expires, joinToken, pairingSecret }
}

/** Makes the pairing secret and keeps everything, secrets first. */
export async function beginRegistration(
  device: Device,
  name: string,
  answer: NewClusterAnswer,
): Promise<Registration> {
  const { id, expires } = answer
  const joinToken = new Secret(answer.joinToken)
  const random = device.world.random(PAIRING_SECRET_BYTES)
  const pairingSecret = new Secret(Buffer.from(random).toString('base64url'))
  await device.secrets.set(joinTokenName(id), joinToken)
  await device.secrets.set(pairingSecretName(id), pairingSecret)
  const file = { version: REGISTRATION.version, name, id, expires }
  await writeJsonFile(registrationPath(device.home, name), REGISTRATION, file)
  return { name, id, expires, joinToken, pairingSecret }
}

export async function endRegistration(device: Device, { name, id }: Registration): Promise<void> {
  await deleteFile(registrationPath(device.home, name))
  await device.secrets.delete(joinTokenName(id))
  await device.secrets.delete(pairingSecretName(id))
}
