import { deleteFile, readTextIfAny, writeFileAtomic } from '../store/files.ts'

/**
 * A user certificate as kept between runs, one file a cluster. Its key is in the secret store under a
 * name that holds the fingerprint. Kept free of every larger import: `mcm credential` reads this on
 * each run of kubectl.
 */
export interface CertificateFile {
  /** PEM. */
  readonly certificate: string
  readonly fingerprint: string
  /** Bare names, as in the certificate. */
  readonly user: string
  readonly groups: readonly string[]
  /** RFC 3339. */
  readonly notBefore: string
  readonly notAfter: string
  /** Two thirds into its life, a little earlier by chance. */
  readonly renewAfter: string
  /** A kubeconfig of mode static holds it too: another one does not end it. */
  readonly isCopied?: boolean
  /** The kubeconfig entry that was found good last, and until when it is if it has an end. */
  readonly checked?: { readonly trust: string; readonly until?: string }
  /** Where its key is. */
  readonly secrets: 'keychain' | 'file'
  /** The last renewal that failed, so that many callers do not each wait for it. */
  readonly failure?: { readonly at: string; readonly message: string }
}

const TEXTS = ['certificate', 'fingerprint', 'user', 'notBefore', 'notAfter', 'renewAfter'] as const

/** What is kept, or undefined: a damaged file is as good as none, a new certificate replaces it. */
export async function readCertificateFile(path: string): Promise<CertificateFile | undefined> {
  const text = await readTextIfAny(path)
  if (text === undefined) return undefined
  try {
    const value = JSON.parse(text)
    const isWhole = TEXTS.every((name) => typeof value[name] === 'string' && value[name] !== '')
    const isKnownPlace = value.secrets === 'keychain' || value.secrets === 'file'
    return isWhole && isKnownPlace && Array.isArray(value.groups) ? value : undefined
  } catch {
    return undefined
  }
}

export async function writeCertificateFile(path: string, file: CertificateFile): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(file, null, 2)}\n`)
}

export async function deleteCertificateFile(path: string): Promise<boolean> {
  return deleteFile(path)
}

/** Good to use without asking anybody: begun, and with more than a third of its life left. */
export function isFresh(file: CertificateFile, now: Date): boolean {
  return now >= new Date(file.notBefore) && now < new Date(file.renewAfter)
}

/** Still accepted by an agent, if only just. */
export function isValid(file: CertificateFile, now: Date): boolean {
  return now >= new Date(file.notBefore) && now < new Date(file.notAfter)
}

const TWO_THIRDS = 2 / 3
const JITTER = 1 / 20

/** When to renew: at two thirds of the lifetime, up to a twentieth of it earlier. `chance` is 0–1. */
export function renewalTime(notBefore: Date, notAfter: Date, chance: number): Date {
  const lifetime = notAfter.getTime() - notBefore.getTime()
  return new Date(notBefore.getTime() + lifetime * (TWO_THIRDS - JITTER * chance))
}
