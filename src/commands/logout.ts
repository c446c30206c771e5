import { Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { logout } from '../device/logout.ts'
import { viewLogout } from '../terminal/fleet-views.ts'
import { confirm } from '../terminal/prompt.ts'

export default class Logout extends McmCommand {
  static override summary = 'delete every key and file of mcm on this machine'
  static override description =
    'The device key goes too: coming back needs a new invite. On the first administrator’s machine the fleet key goes with it, on an owner’s the CA key of every cluster registered with --issuer local: nobody gets a new certificate there any more. ' +
    'Kubeconfig contexts stay; take them out with kubeconfig --remove.'
  static override examples = ['<%= config.bin %> logout', '<%= config.bin %> logout --yes']
  static override flags = { yes: Flags.boolean({ description: 'do not ask' }) }

  async run() {
    const { flags } = await this.parse(Logout)
    const { screen, stdin, home } = this.runtime
    if (!flags.yes)
      await confirm(screen, stdin, `this deletes all keys and files of ${home.directory}`)
    return this.show(await logout(await this.device()), viewLogout)
  }
}
