import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { declarationOf, standingAccess } from '../../device/access-show.ts'
import { EXIT_SOME_FAILED } from '../../errors.ts'
import { toYaml } from '../../kubeconfig/yaml.ts'
import { viewAccess } from '../../terminal/access-views.ts'

export default class AccessShow extends McmCommand {
  static override summary = 'show who may do what where, as it stands'
  static override description =
    'Read from the bindings in every cluster you are a member of, and from the directory; with a user, what they have by name and through their groups.'
  static override examples = [
    '<%= config.bin %> access show',
    '<%= config.bin %> access show bob',
    '<%= config.bin %> access show --yaml > access.yaml',
  ]
  static override args = { user: Args.string({ description: 'only what this user has' }) }
  static override flags = {
    yaml: Flags.boolean({ description: 'as an access.yaml that declares all of it' }),
  }

  async run() {
    const { args, flags } = await this.parse(AccessShow)
    if (flags.yaml) {
      const { declaration, problems } = await this.fleet(declarationOf)
      for (const { cluster, problem } of problems) this.say(`not all of ${cluster}: ${problem}`)
      if (problems.length > 0) this.end = { exitCode: EXIT_SOME_FAILED, signal: null }
      return this.show(declaration, (access) => toYaml([access]))
    }
    const access = await this.fleet((session) => standingAccess(session, args.user))
    return this.show(access, viewAccess)
  }
}
