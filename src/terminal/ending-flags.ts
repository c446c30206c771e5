import { Args, Flags } from '@oclif/core'
import type { EndingWish } from '../device/certificate-end.ts'

/** Which certificates are meant, the same for every command that ends them or brings them back. */
export const endingArgs = {
  certificate: Args.string({
    description: 'its serial or fingerprint, or a beginning of it, as mcm certs shows it',
  }),
}

export const endingFlags = {
  device: Flags.string({ description: 'those of this device: its name or id' }),
  user: Flags.string({ description: 'those of this user' }),
  cluster: Flags.string({
    multiple: true,
    description: 'only there: names, ids, globs or a label selector (default: everywhere)',
  }),
}

export function endingWish(
  { certificate }: { readonly certificate?: string | undefined },
  flags: {
    readonly device?: string | undefined
    readonly user?: string | undefined
    readonly cluster?: readonly string[] | undefined
  },
): EndingWish {
  return {
    certificates: certificate === undefined ? [] : [certificate],
    ...(flags.device === undefined ? {} : { device: flags.device }),
    ...(flags.user === undefined ? {} : { user: flags.user }),
    clusters: flags.cluster ?? [],
  }
}
