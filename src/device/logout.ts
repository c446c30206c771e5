import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, StateError } from '../errors.ts'
import { isClusterId } from '../protocol/names.ts'
import { deleteFile, readTextIfAny } from '../store/files.ts'
import { deleteCertificateFile, readCertificateFile } from './certificate-file.ts'
import type { Device } from './device.ts'
import {
  certificateKeyName,
  certificatePath,
  DEVICE_KEY,
  FLEET_KEY,
  ID_TOKEN,
  joinTokenName,
  pairingSecretName,
  REFRESH_TOKEN,
} from './home.ts'
import { LOCAL_PROXY_SECRETS } from './local-proxy.ts'
import { forgetRequest } from './own-request.ts'
import { forgetUserCa, userCaClusterIds } from './user-ca.ts'

/** Taking everything of mcm off this machine. Works on damaged state as well: it is the way out of it. */

export interface LoggedOut {
  /** What was deleted: files by path, secrets as `keychain: NAME` or by path. */
  readonly deleted: readonly string[]
}

/** Deletes keys first, then files; what cannot be deleted is an error that names it. */
export async function logout(device: Device): Promise<LoggedOut> {
  const { home } = device
  const deleted: string[] = []
  for (const id of await certificateIds(device)) {
    deleted.push(...(await forgetCertificate(device, id)))
  }
  for (const id of await userCaClusterIds(device)) {
    deleted.push(...labels(device, await forgetUserCa(device, id)))
  }
  const pending = await pendingRegistrationSecrets(device)
  const tokens = [ID_TOKEN, REFRESH_TOKEN]
  for (const name of [...pending, ...LOCAL_PROXY_SECRETS, ...tokens, FLEET_KEY, DEVICE_KEY]) {
    if (await device.secrets.delete(name)) deleted.push(secretLabel(device, name))
  }
  const { localProxy, directoryCache, pendingLogin, loginFailure, state } = home
  const files = [localProxy, directoryCache, pendingLogin, loginFailure, state]
  for (const path of files) if (await deleteFile(path)) deleted.push(path)
  const directories = [home.requests, home.userCas, home.registrations, home.certificates]
  for (const path of [...directories, home.secrets]) {
    if (await deleteDirectory(path)) deleted.push(path)
  }
  return { deleted }
}

/** The certificate of one cluster and its key, and a request for one. Gives what was deleted. */
export async function forgetCertificate(device: Device, clusterId: string): Promise<string[]> {
  const path = certificatePath(device.home, clusterId)
  const file = await readCertificateFile(path)
  const deleted: string[] = []
  if (file) {
    const name = certificateKeyName(clusterId, file.fingerprint)
    if (await device.secrets.delete(name)) deleted.push(secretLabel(device, name))
  }
  if (await deleteCertificateFile(path)) deleted.push(path)
  return [...deleted, ...labels(device, await forgetRequest(device, clusterId))]
}

/** Clusters for which there is a certificate or a request. */
async function certificateIds({ home }: Device): Promise<Set<string>> {
  const lists = [home.certificates, home.requests].map((path) => readdir(path).catch(() => []))
  const names = (await Promise.all(lists)).flat()
  return new Set(names.map((name) => name.replace(/\.json$/, '')).filter(isClusterId))
}

function labels(device: Device, deleted: { readonly secret?: string; readonly file?: string }) {
  const { secret, file } = deleted
  return [...(secret ? [secretLabel(device, secret)] : []), ...(file ? [file] : [])]
}

/** What registrations under way keep in the store, by name. */
async function pendingRegistrationSecrets({ home }: Device): Promise<string[]> {
  const files = await readdir(home.registrations).catch(() => [])
  const texts = await Promise.all(
    files.map((name) => readTextIfAny(join(home.registrations, name)).catch(() => undefined)),
  )
  const ids = texts.flatMap((text) => text?.match(/c-[a-z2-7]{10}/) ?? [])
  return ids.flatMap((id) => [joinTokenName(id), pairingSecretName(id)])
}

function secretLabel({ secrets, home }: Device, name: string): string {
  return secrets.kind === 'keychain' ? `keychain: ${name}` : `${home.secrets}/${name}`
}

async function deleteDirectory(path: string): Promise<boolean> {
  try {
    await readdir(path)
    await rm(path, { recursive: true })
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw new StateError('MCM_STATE_UNWRITABLE', `${path} cannot be deleted: ${messageOf(cause)}`, {
      hint: `delete it yourself: rm -r ${path}`,
      cause,
    })
  }
}
