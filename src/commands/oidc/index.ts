import { McmCommand } from '../../command.ts'
import { listProviders } from '../../device/providers.ts'
import { viewProviders } from '../../terminal/provider-views.ts'

export default class Oidc extends McmCommand {
  static override summary =
    'list the identity providers that may say who somebody is, with their links'
  static override description =
    'What an administrator has signed. The link is what people and programs log in with: it pins hub, fleet and provider, and opens nothing by itself.'
  static override examples = ['<%= config.bin %> oidc', '<%= config.bin %> oidc --json']

  async run() {
    await this.parse(Oidc)
    const providers = await this.fleet(async (session) => listProviders(session))
    return this.show(providers, viewProviders)
  }
}
