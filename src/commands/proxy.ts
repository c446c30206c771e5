import { Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { keepProxyPort, localProxy } from '../device/local-proxy.ts'
import { openProxyWays } from '../device/proxy-ways.ts'
import { startProxy } from '../proxy/proxy.ts'
import { requirePrivateRuntime } from '../runtime-floor.ts'
import { viewListening } from '../terminal/listening-view.ts'

export default class ProxyStart extends McmCommand {
  static override summary =
    'serve your clusters on localhost, with keys in memory and warm sessions'
  static override description =
    'For clients that cannot use the exec plugin, and for speed: no handshake per kubectl. ' +
    'What runs through it (exec, logs -f, port-forward, watch) survives a hub restart, another network or a closed lid of up to two minutes. ' +
    'Contexts for it: kubeconfig --mode proxy --merge.'
  static override examples = ['<%= config.bin %> proxy', '<%= config.bin %> proxy --port 7443']
  static override flags = {
    port: Flags.integer({
      min: 0,
      max: 65535,
      description: 'TCP port (default: the one kept)',
    }),
  }

  async run() {
    const { flags } = await this.parse(ProxyStart)
    requirePrivateRuntime(this.runtime.nodeFacts, 'the local proxy')
    // Its connections outlive the signal for a moment: agents hear that sessions end.
    const ending = new AbortController()
    const device = { ...(await this.device()), signal: ending.signal }
    const local = await localProxy(device)
    const ways = openProxyWays(device)
    const proxy = await startProxy(
      {
        ...ways,
        world: device.world,
        log: await this.runtime.openLog(),
        signal: this.runtime.signal,
        tls: { caPem: local.caPem, ...local.server },
      },
      { port: flags.port ?? local.port },
    )
    await keepProxyPort(device, proxy.address.port)
    this.announce(proxy.address, viewListening)
    await proxy.closed
    ways.close()
    ending.abort()
  }
}
