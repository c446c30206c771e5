import { resolve } from 'node:path'
import { Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { hubDatabasePath, hubIdentity } from '../../hub/data.ts'
import { startHub } from '../../hub/hub.ts'
import { ensureStartToken } from '../../hub/start-token.ts'
import { hubStore, openHubDatabase } from '../../hub/store.ts'
import { openSuccessor } from '../../hub/successor.ts'
import { formatLink } from '../../protocol/link.ts'
import { requireServerRuntime } from '../../runtime-floor.ts'
import { endpointFlag, formatAddress, listenFlag } from '../../terminal/flag-values.ts'
import { viewHub } from '../../terminal/listening-view.ts'

export default class HubStart extends McmCommand {
  static override summary = 'run the hub: the one place everybody can reach'
  static override description =
    'Makes its own certificate at the first start and prints the link for the first administrator, until one has used it. ' +
    'It holds no key with which a cluster could be entered. Load balancers in front must pass TCP through.'
  static override examples = [
    '<%= config.bin %> hub start --host hub.example.com',
    '<%= config.bin %> hub start --host hub.example.com --private-host 10.0.0.5 --listen 0.0.0.0:8443 --data /var/lib/mcm',
  ]
  static override flags = {
    host: Flags.string({
      required: true,
      multiple: true,
      description: 'name or address others reach it by, HOST or HOST:PORT',
    }),
    'private-host': Flags.string({ multiple: true, description: 'the same, inside your network' }),
    listen: Flags.string({ description: 'ADDRESS:PORT to listen on (default: all, port 8443)' }),
    data: Flags.string({
      description: 'directory of its data (default: hub in the mcm directory)',
    }),
    'metrics-port': Flags.integer({ min: 0, max: 65535, description: 'Prometheus on 127.0.0.1' }),
    'next-certificate': Flags.boolean({
      description: 'have its next certificate ready, for an administrator to sign',
    }),
    'new-certificate': Flags.boolean({
      description:
        'replace its certificate at once: an administrator signs it with hub sign-certificate --pin',
    }),
  }

  async run() {
    const { flags } = await this.parse(HubStart)
    requireServerRuntime(this.runtime.nodeFacts, 'the hub')
    this.runtime.allowEndMs(30_000)
    const { world, signal, home, proxyFor } = this.runtime
    const data = resolve(flags.data ?? `${home.directory}/hub`)
    const listen = listenFlag('listen', flags.listen, this.runtime.anyAddress, DEFAULT_PORT)
    const hosts = [...flags.host, ...(flags['private-host'] ?? [])]
    const named = hosts.map((host) => endpointFlag('host', host, listen.port || DEFAULT_PORT))
    const { certificate, pin } = await hubIdentity(world, data, named, flags['new-certificate'])
    const successor = await openSuccessor(world, data, named, flags['next-certificate'])
    const database = await openHubDatabase(hubDatabasePath(data))
    try {
      const token = await ensureStartToken(hubStore(database), world)
      const log = await this.runtime.openLog()
      const metricsPort = flags['metrics-port']
      const hub = await startHub(
        { world, log, database, certificate, successor, signal, proxyFor },
        {
          ...listen,
          version: this.config.version,
          ...(metricsPort === undefined ? {} : { metricsPort }),
        },
      )
      const { port } = hub.address
      const endpoints = flags.host.map((host) => endpointFlag('host', host, port))
      const hidden = flags['private-host'] ?? []
      const privateEndpoints = hidden.map((host) => endpointFlag('private-host', host, port))
      const link =
        token && formatLink({ kind: 'start', endpoints, hubPin: pin, token: token.reveal() })
      const address = formatAddress(hub.address)
      const facts = { event: 'listening', address, endpoints, privateEndpoints, pin } as const
      this.announce({ ...facts, ...(link === undefined ? {} : { link }) }, viewHub)
      await hub.closed
    } finally {
      await database.destroy()
    }
  }
}

const DEFAULT_PORT = 8443
