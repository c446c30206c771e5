import { McmCommand } from '../command.ts'
import { listRoles } from '../device/roles.ts'
import { viewRoles } from '../terminal/access-views.ts'

export default class Roles extends McmCommand {
  static override summary = 'list the roles that can be granted'
  static override description =
    'The presets, and your own roles as access.yaml made them. Any other ClusterRole of a cluster can be granted there as well.'
  static override examples = ['<%= config.bin %> roles', '<%= config.bin %> roles --json']

  async run() {
    await this.parse(Roles)
    return this.show(await this.fleet(listRoles), viewRoles)
  }
}
