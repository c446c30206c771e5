import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { setProvider } from '../../device/providers.ts'
import { UsageError } from '../../errors.ts'
import { durationFlag, pairsFlag } from '../../terminal/flag-values.ts'
import { readInput } from '../../terminal/prompt.ts'
import { viewProviders } from '../../terminal/provider-views.ts'
import { workloadsFlag } from '../../terminal/workload-flag.ts'

interface SecretFlags {
  readonly 'client-secret-file'?: string | undefined
  readonly 'public-client-secret': boolean
}

const PUBLIC =
  'everybody in the fleet and everybody with the link can read this secret: it must be of a desktop client that can do nothing by itself'

export default class OidcSet extends McmCommand {
  static override summary = 'let an identity provider say who somebody is'
  static override description =
    'Signs it for the whole fleet; every agent then judges each token itself. All names of a provider end with @DOMAIN, and nobody can be invited under such a name. ' +
    'Groups come only from claim values that --group names. Setting it again ends the logins made before. Register mcm at the provider as a public (native) client with redirect URI http://127.0.0.1/callback, ' +
    'one of its own: where an API server or another program takes tokens of the same client, hub and agents could use there what they are shown.'
  static override examples = [
    '<%= config.bin %> oidc set corp --issuer https://id.example.com --domain example.com --client-id mcm --group platform=ops --group developers=dev',
    '<%= config.bin %> oidc set google --issuer https://accounts.google.com --domain example.com --client-id ID --client-secret-file desktop-client.txt --public-client-secret',
    '<%= config.bin %> oidc set github --issuer https://token.actions.githubusercontent.com --domain ci.example.com --workload deploy=sub=repo:example/app:ref:refs/heads/main',
  ]
  static override args = {
    name: Args.string({ required: true, description: 'what the fleet calls the provider' }),
  }
  static override flags = {
    issuer: Flags.string({ required: true, description: 'https URL, exactly as its tokens say' }),
    domain: Flags.string({ required: true, description: 'every name it gives ends with @DOMAIN' }),
    'client-id': Flags.string({ description: 'mcm as the provider knows it; lets people in' }),
    'client-secret-file': Flags.string({
      description:
        'of a desktop client whose provider insists on one: it becomes PUBLIC, as it is in every program that people run',
      dependsOn: ['client-id'],
    }),
    'public-client-secret': Flags.boolean({
      description: 'I know that everybody can read that secret from then on',
      dependsOn: ['client-secret-file'],
    }),
    scope: Flags.string({
      multiple: true,
      description: 'asked for besides openid (default: email)',
    }),
    'user-claim': Flags.string({
      default: 'email',
      description: 'the claim that names a person; any but email must hold no @',
    }),
    'groups-claim': Flags.string({ default: 'groups', description: 'the claim that lists groups' }),
    group: Flags.string({ multiple: true, description: 'CLAIM-VALUE=GROUP' }),
    workload: Flags.string({
      multiple: true,
      description: 'NAME=CLAIM=VALUE: a program, by exact claims; repeat for more, one of them sub',
    }),
    'maximum-age': Flags.string({
      default: '12h',
      description: 'how long a login lasts: 1h, 12h, 7d',
    }),
    ca: Flags.string({ description: 'PEM file, where its certificate is of a private CA' }),
  }

  async run() {
    const { args, flags } = await this.parse(OidcSet)
    const ca =
      flags.ca === undefined
        ? undefined
        : await readInput(this.#input(), flags.ca, 'paste the CA: ')
    const caPem = ca === undefined ? {} : { caPem: ca }
    const clientId = flags['client-id']
    const people = clientId && {
      clientId,
      ...(await this.#clientSecret(flags)),
      scopes: flags.scope ?? ['email'],
      userClaim: flags['user-claim'],
      groupsClaim: flags['groups-claim'],
      groups: pairsFlag('group', flags.group ?? []),
    }
    const provider = await this.fleet((session) =>
      setProvider(session, {
        name: args.name,
        issuer: flags.issuer,
        domain: flags.domain,
        maximumAge: Math.floor(durationFlag('maximum-age', flags['maximum-age']) / 1000),
        ...caPem,
        ...(people ? { people } : {}),
        workloads: workloadsFlag(flags.workload ?? [], flags.domain),
      }),
    )
    return this.show([provider], viewProviders)
  }

  /** Never the secret of a client that has power of its own: whoever holds the link reads it. */
  async #clientSecret(flags: SecretFlags) {
    const file = flags['client-secret-file']
    if (file === undefined) return {}
    if (!flags['public-client-secret'])
      throw new UsageError('MCM_USAGE', PUBLIC, { hint: 'if so, add --public-client-secret' })
    const clientSecret = (await readInput(this.#input(), file, 'paste the secret: ')).trim()
    return { clientSecret }
  }

  #input() {
    const { kubeconfigFiles: files, screen, stdin } = this.runtime
    return { files, screen, stdin }
  }
}
