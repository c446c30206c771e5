/**
 * One person's connection as kubectl makes it from a kubeconfig in static mode, but one record at a time: outer
 * TLS, CONNECT, inner TLS, HTTP/1.1 by hand.
 */

import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { TLSSocket } from 'node:tls'
import { parse } from 'yaml'
import { dialHub } from '../../src/client/dial.ts'
import { openInner } from '../../src/client/inner.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { Secret } from '../../src/secret.ts'
import { readHead } from '../hub/stage.ts'

/** What a kubeconfig of mcm in static mode holds for one cluster, decoded. */
export interface StaticAccess {
  /** Both certificates, as kubectl reads them. */
  readonly bundlePem: string
  readonly hubPem: string
  readonly serverCaPem: string
  /** `HOST:PORT` */
  readonly hub: string
  readonly clusterHost: string
  readonly certPem: string
  readonly keyPem: string
}

/** Reads the entries of one context. */
export async function readStaticAccess(path: string, context: string): Promise<StaticAccess> {
  const file = parse(await readFile(path, 'utf8')) as {
    clusters: { name: string; cluster: Record<string, string> }[]
    users: { name: string; user: Record<string, string> }[]
  }
  const cluster = file.clusters.find(({ name }) => name === context)!.cluster
  const user = file.users.find(({ name }) => name === context)!.user
  const bundlePem = decode(cluster['certificate-authority-data'])
  const certificates = bundlePem.split(/(?<=-----END CERTIFICATE-----\n)/)
  if (certificates.length !== 2) throw new Error(`the bundle holds ${certificates.length} of 2`)
  return {
    bundlePem,
    hubPem: certificates[0]!,
    serverCaPem: certificates[1]!,
    hub: new URL(cluster['proxy-url']!).host,
    clusterHost: new URL(cluster['server']!).hostname,
    certPem: decode(user['client-certificate-data']),
    keyPem: decode(user['client-key-data']),
  }
}

/** The outer layer and a CONNECT: what comes back carries the inner layer. */
export async function openLine(access: StaticAccess, authority?: string): Promise<TLSSocket> {
  const socket = await dialHub({
    endpoint: access.hub,
    alpn: 'http/1.1',
    pin: sha256(new X509Certificate(access.hubPem).raw),
    check: () => {},
    certPem: access.certPem,
    keyPem: new Secret(access.keyPem),
  })
  const target = authority ?? `${access.clusterHost}:443`
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`)
  const head = await readHead(socket)
  if (head.startsWith('HTTP/1.1 200')) return socket
  throw new Error(head)
}

/** The inner layer as well. @throws McmError as `openInner` */
export async function openSession(access: StaticAccess): Promise<TLSSocket> {
  return openInner(await openLine(access), {
    host: access.clusterHost,
    serverCaPem: access.serverCaPem,
    certPem: access.certPem,
    keyPem: new Secret(access.keyPem),
    alpn: ['http/1.1'],
  })
}

export interface SessionAnswer {
  /** undefined when the connection ended before a whole head came. */
  readonly status: number | undefined
  readonly text: string
  /** What ended the connection, if it did not end by itself. */
  readonly failure: string | undefined
}

/** Writes pieces of one request and reads what comes until the other side ends the connection. */
export function exchange(
  socket: TLSSocket,
  pieces: readonly (string | Buffer)[],
): Promise<SessionAnswer> {
  return new Promise((resolve) => {
    let text = ''
    let failure: string | undefined
    socket.on('data', (chunk) => {
      text += String(chunk)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failure ??= error.code ?? error.message
    })
    socket.once('close', () => {
      const status = /^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1]
      resolve({ status: status === undefined ? undefined : Number(status), text, failure })
    })
    socket.once('end', () => socket.end())
    for (const piece of pieces) socket.write(piece)
  })
}

/** A request whose answer is followed by the end of the connection. */
export function getRequest(access: StaticAccess, path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${access.clusterHost}\r\nConnection: close\r\n\r\n`
}

const ENTRY_BYTES = 1_000

/**
 * Creates a ConfigMap of about `kilobytes` in YAML, of which every first part is a whole ConfigMap as well: a
 * request executed in part would be seen. `metadata` as in `name: x`.
 */
export function createRequest(access: StaticAccess, metadata: string, kilobytes: number): Buffer[] {
  const head =
    `POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: ${access.clusterHost}\r\n` +
    'Content-Type: application/yaml\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n'
  const entries = Array.from({ length: kilobytes }, (_, index) => {
    return `  entry-${String(index).padStart(4, '0')}: ${'x'.repeat(ENTRY_BYTES - 15)}\n`
  })
  const object = `apiVersion: v1\nkind: ConfigMap\nmetadata: {${metadata}}\ndata:\n`
  const chunks = [object, ...entries].map((text) => `${text.length.toString(16)}\r\n${text}\r\n`)
  return [Buffer.from(head), Buffer.from(`${chunks.join('')}0\r\n\r\n`)]
}

function decode(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString()
}
