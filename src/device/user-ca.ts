import { X509Certificate } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import type { ClusterRecord } from '../directory/state.ts'
import { isMcmError, StateError } from '../errors.ts'
import { type Authority, createAuthority, loadAuthority } from '../pki/authority.ts'
import { isClusterId } from '../protocol/names.ts'
import { deleteFile, readTextIfAny, writeFileAtomic } from '../store/files.ts'
import type { Device } from './device.ts'
import { nextUserCaKeyName, nextUserCaPath, userCaKeyName, userCaPath } from './home.ts'

/**
 * The user CAs whose keys this machine keeps (`mcm register --issuer local`): the key in the secret store, the
 * certificate in a file beside, which says that the key has to be here. A key never leaves this machine.
 */

/** A new user CA for a cluster that is being registered. The key first. */
export async function createUserCa(device: Device, clusterId: string): Promise<void> {
  const commonName = `mcm user CA ${clusterId}`
  const { certificatePem, privateKeyPem } = await createAuthority(device.world, { commonName })
  await device.secrets.set(userCaKeyName(clusterId), privateKeyPem)
  await writeFileAtomic(userCaPath(device.home, clusterId), certificatePem)
}

/** The certificate of a cluster's user CA whose key is this machine's to keep, in PEM; undefined for another's. */
export async function userCaPem(device: Device, clusterId: string): Promise<string | undefined> {
  return readTextIfAny(userCaPath(device.home, clusterId))
}

/** The user CA that waits to take the place of the one of now, in base64 DER; made when there is none. */
export async function nextUserCa(device: Device, clusterId: string): Promise<string> {
  const path = nextUserCaPath(device.home, clusterId)
  const waiting = await readTextIfAny(path)
  if (waiting !== undefined) return derOf(waiting).toString('base64')
  const commonName = `mcm user CA ${clusterId}`
  const made = await createAuthority(device.world, { commonName })
  await device.secrets.set(nextUserCaKeyName(clusterId), made.privateKeyPem)
  await writeFileAtomic(path, made.certificatePem)
  return made.certificateDer.toString('base64')
}

/** Once the directory names the one that waited; the one before is gone then. May be tried again at any point. */
async function takeNextIntoUse(
  device: Device,
  { id, userCaDer }: Pick<ClusterRecord, 'id' | 'userCaDer'>,
): Promise<void> {
  const path = nextUserCaPath(device.home, id)
  const waiting = await readTextIfAny(path)
  if (waiting === undefined || !derOf(waiting).equals(userCaDer)) return
  const key = await device.secrets.get(nextUserCaKeyName(id))
  if (!key) return
  await device.secrets.set(userCaKeyName(id), key)
  await writeFileAtomic(userCaPath(device.home, id), waiting)
  await deleteFile(path)
  await device.secrets.delete(nextUserCaKeyName(id))
}

function derOf(pem: string): Buffer {
  return new X509Certificate(pem).raw
}

/**
 * The user CA of a cluster, to sign with; undefined where it is not this machine's to keep.
 * @throws StateError MCM_STATE_DAMAGED when its key is gone or another's, MCM_KEYCHAIN_UNAVAILABLE
 */
export async function loadUserCa(
  device: Device,
  { id, name, userCaDer }: ClusterRecord,
): Promise<Authority | undefined> {
  await takeNextIntoUse(device, { id, userCaDer })
  const pem = await userCaPem(device, id)
  if (pem === undefined) return undefined
  const key = await device.secrets.get(userCaKeyName(id))
  const place = device.secrets.kind === 'keychain' ? 'the keychain' : device.home.secrets
  if (!key) throw unusable(name, `its key is gone from ${place}`)
  const authority = authorityOf(name, () => loadAuthority(pem, key))
  if (authority.certificateDer.equals(userCaDer)) return authority
  throw unusable(name, `${userCaPath(device.home, id)} is not the CA that the directory names`)
}

/** Takes key and certificate off this machine. Gives the names of what was deleted. */
export async function forgetUserCa(
  device: Device,
  clusterId: string,
): Promise<{ readonly secret?: string; readonly file?: string }> {
  const [secret, file] = [userCaKeyName(clusterId), userCaPath(device.home, clusterId)]
  await deleteFile(nextUserCaPath(device.home, clusterId))
  await device.secrets.delete(nextUserCaKeyName(clusterId))
  const hadSecret = await device.secrets.delete(secret)
  const hadFile = await deleteFile(file)
  return { ...(hadSecret ? { secret } : {}), ...(hadFile ? { file } : {}) }
}

/** The ids of all clusters whose user CA this machine keeps. */
export async function userCaClusterIds({ home }: Device): Promise<string[]> {
  const names = await readdir(home.userCas).catch(() => [])
  return names.map((name) => name.replace(/\.pem$/, '')).filter(isClusterId)
}

function authorityOf(name: string, load: () => Authority): Authority {
  try {
    return load()
  } catch (error) {
    if (isMcmError(error)) throw unusable(name, error.message)
    throw error
  }
}

function unusable(name: string, why: string): StateError {
  return new StateError('MCM_STATE_DAMAGED', `the user CA of ${name} cannot sign: ${why}`, {
    hint: `restore it from a backup of this machine; if there is none: mcm clusters remove ${name}, then mcm register ${name} --issuer local`,
  })
}
