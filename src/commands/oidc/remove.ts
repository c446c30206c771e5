import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { removeProvider } from '../../device/providers.ts'
import { confirm } from '../../terminal/prompt.ts'
import { viewRemovedProvider } from '../../terminal/provider-views.ts'

export default class OidcRemove extends McmCommand {
  static override summary = 'take an identity provider away; everybody it let in is out'
  static override description =
    'What its tokens admitted ends on every cluster at once, and no new token of it is taken. Names under its domain can be invited again.'
  static override examples = ['<%= config.bin %> oidc remove corp']
  static override args = {
    name: Args.string({ required: true, description: 'name of the provider' }),
  }
  static override flags = { yes: Flags.boolean({ description: 'do not ask' }) }

  async run() {
    const { args, flags } = await this.parse(OidcRemove)
    const { screen, stdin } = this.runtime
    if (!flags.yes) await confirm(screen, stdin, `this ends every login by provider ${args.name}`)
    const removed = await this.fleet((session) => removeProvider(session, args.name))
    return this.show(removed, viewRemovedProvider)
  }
}
