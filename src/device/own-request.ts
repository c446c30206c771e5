import { z } from 'zod'
import { signConsent } from '../directory/consent.ts'
import type { ClusterRecord } from '../directory/state.ts'
import { createCsr } from '../pki/csr.ts'
import { generateKeyPair } from '../pki/key-pair.ts'
import type { Secret } from '../secret.ts'
import { deleteFile, withFileLock } from '../store/files.ts'
import { formatCertificateRequest } from './certificate-request.ts'
import type { Device } from './device.ts'
import { requestKeyName, requestPath } from './home.ts'
import { type JsonFile, readJsonFile, writeJsonFile } from './json-file.ts'
import type { Standpoint } from './latest-directory.ts'

/**
 * This person's request to the owner of a cluster, kept with its key until the answer comes. Asked again it is
 * the same one, so whichever of two copies the owner signs fits.
 */
export interface OwnRequest {
  /** The block to send. */
  readonly text: string
  readonly key: Secret<string>
}

const schema = z.object({ version: z.number(), device: z.string(), text: z.string() })

const REQUEST: JsonFile<z.infer<typeof schema>> = {
  version: 1,
  schema,
  remedy: 'remove it: mcm certs request makes a new one',
}

/** The one that waits, or a new one. The key is in the store before the request is anywhere. */
export async function ownRequest(
  { device, state, key }: Standpoint,
  cluster: ClusterRecord,
): Promise<OwnRequest> {
  const path = requestPath(device.home, cluster.id)
  return withFileLock(path, async () => {
    const waiting = await waitingRequest(device, cluster.id, state.device.id)
    if (waiting) return waiting
    const { privateKeyPem, publicKeyDer } = generateKeyPair()
    const text = formatCertificateRequest({
      cluster: cluster.id,
      device: key.id,
      csr: await createCsr(privateKeyPem, state.user),
      consent: signConsent(key, { cluster: cluster.id, publicKeyDer }),
    })
    await device.secrets.set(requestKeyName(cluster.id), privateKeyPem)
    await writeJsonFile(path, REQUEST, { version: REQUEST.version, device: key.id, text })
    return { text, key: privateKeyPem }
  })
}

/** The one that waits; one without its key, or of a device that this one was before, is none. */
export async function waitingRequest(
  device: Device,
  clusterId: string,
  deviceId: string,
): Promise<OwnRequest | undefined> {
  const file = await readJsonFile(requestPath(device.home, clusterId), REQUEST)
  if (!file || file.device !== deviceId) return undefined
  const key = await device.secrets.get(requestKeyName(clusterId))
  return key && { text: file.text, key }
}

/** Takes request and key off this machine. Gives what was there. */
export async function forgetRequest(
  device: Device,
  clusterId: string,
): Promise<{ readonly secret?: string; readonly file?: string }> {
  const [secret, file] = [requestKeyName(clusterId), requestPath(device.home, clusterId)]
  const hadFile = await deleteFile(file)
  const hadSecret = await device.secrets.delete(secret)
  return { ...(hadSecret ? { secret } : {}), ...(hadFile ? { file } : {}) }
}
