import { Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { verifiedDirectory } from '../../device/directory-check.ts'
import { viewVerdict } from '../../terminal/fleet-views.ts'

export default class DirectoryVerify extends McmCommand {
  static override summary = 'verify the whole directory from its first statement on'
  static override description =
    'Every signature, every hash, the pinned fleet fingerprint, and that nothing seen before is missing. ' +
    'Asks the hub for all of it again, or with --offline takes the copy on this machine.'
  static override examples = [
    '<%= config.bin %> directory verify',
    '<%= config.bin %> directory verify --offline',
  ]
  static override flags = {
    offline: Flags.boolean({ description: 'use the copy on this machine, ask no hub' }),
  }

  async run() {
    const { flags } = await this.parse(DirectoryVerify)
    return this.show(await verifiedDirectory(await this.device(), flags.offline), viewVerdict)
  }
}
