import type { EndingWish } from '../device/certificate-end.ts'

/** Which certificates are meant, the same for every command that ends them or brings them back. */
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
