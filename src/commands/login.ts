import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { login } from '../device/login.ts'
import type { TokenSource } from '../device/provided-token.ts'
import { requireState } from '../device/state.ts'
import { viewLogin } from '../terminal/fleet-views.ts'
import { readLine } from '../terminal/prompt.ts'
import { tokenInFile, tokenInVariable } from '../terminal/token-flags.ts'

function tokenSource(flags: {
  readonly 'device-code': boolean
  readonly 'token-command'?: string | undefined
  readonly 'token-file'?: string | undefined
  readonly 'token-env'?: string | undefined
}): TokenSource | undefined {
  const { 'token-command': command, 'token-file': file, 'token-env': variable } = flags
  if (command !== undefined) return { kind: 'command', command }
  if (file !== undefined) return tokenInFile(file)
  if (variable !== undefined) return tokenInVariable('token-env', variable)
  return flags['device-code'] ? { kind: 'device-code' } : undefined
}

export default class Login extends McmCommand {
  static override summary = 'log this device in, with the link an administrator sent'
  static override description =
    'Makes a key for this device, joins the fleet of the link and gets a certificate for every cluster you may reach. ' +
    'Safe to run again: it goes on where it was. Without a link on a device that is logged in, it renews every certificate.'
  static override examples = [
    "<%= config.bin %> login 'mcm://hub.example.com:8443/join#pin=…&fleet=…&secret=…'",
    "<%= config.bin %> login 'mcm://hub.example.com:8443/start#pin=…&token=…' --name ada",
    'pass show mcm-invite | <%= config.bin %> login -',
    "<%= config.bin %> login --oidc 'mcm://hub.example.com:8443/oidc#pin=…&fleet=…&detail=…'",
    "<%= config.bin %> login --oidc 'mcm://hub.example.com:8443/oidc#pin=…&fleet=…&detail=…' --token-command ./ci-token",
    "<%= config.bin %> login --oidc 'mcm://hub.example.com:8443/oidc#pin=…&fleet=…&detail=…' --token-file /var/run/secrets/mcm/token",
  ]
  static override args = {
    link: Args.string({ description: 'the link, in quotes; - reads it from stdin' }),
  }
  static override flags = {
    oidc: Flags.string({ description: 'log in at the identity provider of this link' }),
    'device-code': Flags.boolean({
      description: 'by a code typed on another machine, not in a browser here',
      exclusive: ['token-command'],
    }),
    'token-command': Flags.string({
      description:
        'for a program: prints its token for the audience in MCM_AUDIENCE; kept and run again',
    }),
    'token-file': Flags.string({
      description:
        'for a program whose key stays (MCM_HOME): its token lies in this file, made for the audience that the first try names',
      dependsOn: ['oidc'],
      exclusive: ['token-command', 'token-env', 'device-code'],
    }),
    'token-env': Flags.string({
      description: 'the same, where its token is in this environment variable',
      dependsOn: ['oidc'],
      exclusive: ['token-command', 'token-file', 'device-code'],
    }),
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
    const link = flags.oidc ?? (await this.#link(args.link))
    const token = tokenSource(flags)
    const result = await login(device, {
      ...(link === undefined ? {} : { link }),
      user: flags.name ?? this.runtime.userName,
      deviceName: flags['device-name'] ?? this.runtime.hostName,
      privateEndpoints: flags['private-endpoint'] ?? [],
      endpoint: flags.endpoint,
      ...(token ? { token } : {}),
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
