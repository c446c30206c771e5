import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { login } from '../device/login.ts'
import { requireState } from '../device/state.ts'
import { viewLogin } from '../terminal/fleet-views.ts'
import { readLine } from '../terminal/prompt.ts'

export default class Login extends McmCommand {
  static override summary = 'log this device in, with the link an administrator sent'
  static override description =
    'Makes a key for this device, joins the fleet of the link and gets a certificate for every cluster you may reach. ' +
    'Safe to run again: it goes on where it was. Without a link on a device that is logged in, it renews every certificate.'
  static override examples = [
    "<%= config.bin %> login 'mcm://hub.example.com:8443/join#pin=…&fleet=…&secret=…'",
    "<%= config.bin %> login 'mcm://hub.example.com:8443/start#pin=…&token=…' --name ada",
    'pass show mcm-invite | <%= config.bin %> login -',
  ]
  static override args = {
    link: Args.string({ description: 'the link, in quotes; - reads it from stdin' }),
  }
  static override flags = {
    name: Flags.string({ description: 'your name as first administrator, for a start link' }),
    'device-name': Flags.string({
      description: 'how others know this device (default: host name)',
    }),
    keychain: Flags.option({
      options: ['auto', 'never', 'require'] as const,
      description: 'where keys are kept: never means files only you can read',
    })(),
    endpoint: Flags.option({
      options: ['public', 'private'] as const,
      default: 'public',
      description: "which of the hub's endpoints to try first",
    })(),
    'private-endpoint': Flags.string({
      multiple: true,
      description: 'HOST:PORT of the hub inside your network, for a start link',
    }),
  }

  async run() {
    const { args, flags } = await this.parse(Login)
    const device = await this.device(flags.keychain ? { keychain: flags.keychain } : {})
    const link = await this.#link(args.link)
    const result = await login(device, {
      ...(link === undefined ? {} : { link }),
      user: flags.name ?? this.runtime.userName,
      deviceName: flags['device-name'] ?? this.runtime.hostName,
      privateEndpoints: flags['private-endpoint'] ?? [],
      endpoint: flags.endpoint,
    })
    return this.show(result, viewLogin)
  }

  async #link(given: string | undefined): Promise<string | undefined> {
    if (given !== undefined && given !== '-') return given
    if (given === undefined) {
      await requireState(this.runtime.home)
      return undefined
    }
    return readLine(this.runtime.screen, this.runtime.stdin, 'paste the link: ')
  }
}
