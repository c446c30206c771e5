import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { removeDevice } from '../../device/devices.ts'
import { viewRemovedDevice } from '../../terminal/device-views.ts'
import { confirm } from '../../terminal/prompt.ts'

export default class DevicesRemove extends McmCommand {
  static override summary =
    'end a device: a lost laptop of yours, or for an administrator anybody’s'
  static override description =
    'Its certificates and open connections end on every cluster. The key never comes back; the person needs a new invite or login for that machine.'
  static override examples = [
    '<%= config.bin %> devices remove old-laptop',
    '<%= config.bin %> devices remove old-laptop --user bob --reason stolen',
  ]
  static override args = {
    device: Args.string({ required: true, description: 'its name, its id or a beginning of it' }),
  }
  static override flags = {
    user: Flags.string({ description: 'whose, where several have one of that name' }),
    reason: Flags.string({ default: '', description: 'why, for the directory' }),
    yes: Flags.boolean({ description: 'do not ask' }),
  }

  async run() {
    const { args, flags } = await this.parse(DevicesRemove)
    const { screen, stdin } = this.runtime
    const whose = flags.user === undefined ? {} : { user: flags.user }
    if (!flags.yes) await confirm(screen, stdin, `this ends device ${args.device}`)
    const removed = await this.fleet((session) =>
      removeDevice(session, { ...whose, device: args.device }, flags.reason),
    )
    return this.show(removed, viewRemovedDevice)
  }
}
