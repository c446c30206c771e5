import { readFile } from 'node:fs/promises'
import { messageOf, UsageError } from '../errors.ts'

/** What a kubeconfig holds inside itself or names beside it. */

/** The PEM in `<field>-data`, else in the file `<field>` names; undefined with neither. @throws UsageError MCM_BAD_FILE */
export async function dataOrFile(
  entry: Readonly<Record<string, unknown>>,
  field: 'certificate-authority' | 'client-certificate' | 'client-key',
): Promise<string | undefined> {
  const data = entry[`${field}-data`]
  if (typeof data === 'string' && data !== '') return Buffer.from(data, 'base64').toString('utf8')
  const path = entry[field]
  return typeof path === 'string' && path !== '' ? readNamed(path) : undefined
}

/** @throws UsageError MCM_BAD_FILE */
export async function readNamed(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause) => {
    throw new UsageError('MCM_BAD_FILE', `${path} cannot be read: ${messageOf(cause)}`, {
      hint: 'the kubeconfig names it: correct the path or the file',
      cause,
    })
  })
}
