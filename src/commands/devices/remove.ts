import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { type OwnedDevice, removeDevice } from '../../device/devices.ts'
import { EXIT_SOME_FAILED } from '../../errors.ts'
import { viewRemovedDevice } from '../../terminal/device-views.ts'
import { confirm } from '../../terminal/prompt.ts'
import { plainLine } from '../../terminal/text.ts'

export default class DevicesRemove extends McmCommand {
  static override summary =
    'end a device: a lost laptop of yours, or for an administrator anybody’s'
  static override description =
    'Its certificates and open connections end on every cluster. The key never comes back; the person needs a new invite or login for that machine. ' +
    'One that a token let in is ended by its owner at the hub and at each cluster that answers: where one does not, and for clusters of later, an administrator ends it for good.'
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
    const ask = async ({ id, name, user }: OwnedDevice) => {
      const what = plainLine(`this ends device ${name} of ${user}, key ${id}`)
      if (!flags.yes) await confirm(screen, stdin, what)
    }
    const removed = await this.fleet((session) =>
      removeDevice(session, { ...whose, device: args.device }, flags.reason, ask),
    )
    if (!removed.isSigned && removed.problems.length > 0)
      this.end = { exitCode: EXIT_SOME_FAILED, signal: null }
    return this.show(removed, viewRemovedDevice)
  }
}
