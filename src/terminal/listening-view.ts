/** Where a program that runs long can be reached. */

export function viewListening({ urls }: { readonly urls: readonly string[] }): string {
  return `listening on ${urls.join(' and ')}; Ctrl-C ends it\n`
}

export interface HubAnnouncement {
  readonly event: 'listening'
  /** What it listens on. */
  readonly address: string
  /** What others reach it by. */
  readonly endpoints: readonly string[]
  readonly privateEndpoints: readonly string[]
  readonly pin: string
  /** The start link, only while no fleet is founded. It holds a secret. */
  readonly link?: string
}

export function viewHub(hub: HubAnnouncement): string {
  const lines = [`hub ${hub.endpoints.join(', ')} is listening on ${hub.address}`]
  if (hub.link !== undefined) {
    const hidden = hub.privateEndpoints.map((endpoint) => ` --private-endpoint ${endpoint}`)
    lines.push(
      'the first administrator runs, once:',
      `  mcm login '${hub.link}' --name NAME${hidden.join('')}`,
    )
  }
  return `${lines.join('\n')}\n`
}
