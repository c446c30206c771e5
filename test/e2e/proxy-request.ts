import { readFile } from 'node:fs/promises'
import { Agent, request } from 'undici'
import { parse } from 'yaml'

export interface ProxyAnswer {
  readonly status: number
  readonly body: string
}

/**
 * A request through `mcm proxy` as another client than kubectl would send it: with header lines of one's own, by the
 * kubeconfig of mode `proxy`.
 */
export async function requestThroughProxy(
  kubeconfig: string,
  path: string,
  headers: readonly (readonly [name: string, value: string])[],
): Promise<ProxyAnswer> {
  const { clusters, users } = parse(await readFile(kubeconfig, 'utf8'))
  const { server, 'certificate-authority-data': ca } = clusters[0].cluster
  const { 'client-certificate-data': cert, 'client-key-data': key } = users[0].user
  const decoded = (text: string) => Buffer.from(text, 'base64').toString()
  const connect = { ca: decoded(ca), cert: decoded(cert), key: decoded(key) }
  const dispatcher = new Agent({ connect })
  try {
    const answer = await request(`${server}${path}`, { dispatcher, headers: headers.flat() })
    return { status: answer.statusCode, body: await answer.body.text() }
  } finally {
    await dispatcher.close()
  }
}
