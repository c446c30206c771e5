import type { RotatedCluster } from '../device/rotate-authorities.ts'
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
