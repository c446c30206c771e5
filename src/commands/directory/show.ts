import { Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { currentDirectory } from '../../device/directory-check.ts'
import { viewDirectory } from '../../device/directory-view.ts'
import { viewDirectoryStatements } from '../../terminal/fleet-views.ts'

export default class DirectoryShow extends McmCommand {
  static override summary = 'show every statement of the signed directory'
  static override description =
    'All of it is verified first. Details that concern others are not shown to you.'
  static override examples = [
    '<%= config.bin %> directory show',
    '<%= config.bin %> directory show --offline --json',
  ]
  static override flags = {
    offline: Flags.boolean({ description: 'use the copy on this machine, ask no hub' }),
  }

  async run() {
    const { flags } = await this.parse(DirectoryShow)
    const directory = await currentDirectory(await this.device(), flags.offline)
    return this.show(viewDirectory(directory), viewDirectoryStatements)
  }
}
