import { McmCommand } from '../command.ts'
import { whoami } from '../device/whoami.ts'
import { viewWhoami } from '../terminal/fleet-views.ts'

export default class Whoami extends McmCommand {
  static override summary = 'who you are: user, groups, device, fleet, certificates'
  static override description =
    'As the verified directory has it, with what the agents of your clusters say of the certificates kept here. Works without a hub, and says so.'
  static override examples = ['<%= config.bin %> whoami', '<%= config.bin %> whoami --json']

  async run() {
    await this.parse(Whoami)
    return this.show(await whoami(await this.device()), viewWhoami)
  }
}
