import type { InstalledCertificate, RequestToSend } from '../device/certificate-by-owner.ts'
import type { SignedCertificate } from '../device/owner-issuing.ts'
import { renderFields } from './table.ts'

/** Certificates between a person and the owner of a cluster. Each view takes the object that --json prints. */

/** The text alone, so that it can be piped to where it is needed. */
export function viewRequest({ request }: RequestToSend): string {
  return request
}

/** The certificate alone. */
export function viewSigned({ certificate }: SignedCertificate): string {
  return certificate
}

/** What was signed, for whoever looks on: one line. */
export function viewSignedFor({
  user,
  groups,
  device,
  cluster,
  notAfter,
}: SignedCertificate): string {
  const names = groups.length === 0 ? user : `${user} (${groups.join(', ')})`
  return `signed for ${names} on ${device.name}, cluster ${cluster.name}, until ${notAfter}`
}

export function viewInstalled(installed: InstalledCertificate): string {
  return renderFields({
    installed: `${installed.cluster.name} (${installed.cluster.id})`,
    user: installed.user,
    groups: installed.groups.join(', ') || undefined,
    'certificate until': installed.certificateUntil,
    next: `mcm kubeconfig ${installed.cluster.name} --merge`,
  })
}
