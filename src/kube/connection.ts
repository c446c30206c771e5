import type { Secret } from '../secret.ts'

/**
 * How to reach one API server directly, with the caller's own credentials: what a kubeconfig context
 * says, read once. Certificates and keys are PEM.
 */
export interface ApiServerConnection {
  /** `http://` only where the owner's own kubeconfig says so, as for `kubectl proxy`. */
  readonly scheme: 'https' | 'http'
  /** A DNS name or an address; an IPv6 address stands without brackets. */
  readonly host: string
  readonly port: number
  /** The path every request starts with, as behind Rancher; empty or `/…` without a slash at the end. */
  readonly basePath: string
  /** `scheme://host:port/base/path`, for sentences. */
  readonly server: string
  readonly caPem?: string
  /** The name to send and to verify instead of the host. */
  readonly tlsServerName?: string
  readonly insecureSkipTlsVerify: boolean
  readonly clientCertPem?: string
  readonly clientKeyPem?: Secret<string>
  /** `proxy-url` of the kubeconfig, or what the environment says for this host. */
  readonly proxyUrl?: string
  /** The namespace of the context. */
  readonly namespace?: string
  /** The value of the Authorization header, asked again before every request: it may be short-lived. */
  authorization(): Promise<Secret<string> | undefined>
}
