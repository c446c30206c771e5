import type { UserCertificate } from '../pki/user-certificate.ts'
import type { Standing } from './authenticate.ts'

/** What somebody asks of the agent itself, on a session that was authenticated. */
export interface OwnRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly query: URLSearchParams
  readonly standing: Standing
  readonly certificate: UserCertificate
  /** Reads the body as JSON, of 32 KiB unless told. */
  body(maxBytes?: number): Promise<unknown>
}
