import type { RotatedCluster } from '../device/rotate-authorities.ts'
import type { SignedHubCertificate } from '../device/sign-hub-certificate.ts'
import { renderFields } from './table.ts'

/** Keys that were replaced, as text. Each view takes the object that --json prints. */

export function viewRotated({ name, id, until }: RotatedCluster): string {
  return renderFields({
    cluster: `${name} (${id})`,
    'new CAs': 'signed; certificates are renewed by themselves',
    'those before count until': until,
    next: `mcm kubeconfig ${name} --merge, on every machine with plain kubectl, before then`,
  })
}

export function viewHubCertificate({ endpoints, pin, from }: SignedHubCertificate): string {
  return renderFields({
    hub: endpoints.join(', '),
    pin,
    'shown from': from ?? 'now',
    next: `mcm kubeconfig --merge, on every machine with plain kubectl${from === undefined ? '' : ', before then'}`,
  })
}
