import { Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { accessDocument, exitCodeOfDiff } from '../../device/access-document.ts'
import { readAccessFile } from '../../device/access-file.ts'
import { planAccess } from '../../device/access-plan.ts'
import { EXIT_ALL_FAILED, EXIT_DIFFERENT, EXIT_SOME_FAILED } from '../../errors.ts'
import { viewAccessDiff } from '../../terminal/access-views.ts'

export default class AccessDiff extends McmCommand {
  static override summary =
    'show what access.yaml declares and the clusters do not have, and the reverse'
  static override description =
    'Reads every cluster you are a member of with your own rights, and changes nothing. ' +
    `Exit code: 0 as declared, ${EXIT_DIFFERENT} when something differs, ${EXIT_SOME_FAILED} when some clusters could not be compared, ${EXIT_ALL_FAILED} when none could.`
  static override examples = [
    '<%= config.bin %> access diff',
    '<%= config.bin %> access diff --file team/access.yaml --json',
  ]
  static override flags = {
    file: Flags.string({ char: 'f', default: 'access.yaml', description: 'the declaration' }),
  }

  async run() {
    const { flags } = await this.parse(AccessDiff)
    const declared = await readAccessFile(flags.file)
    const plan = await this.fleet((session) => planAccess(session, declared))
    const document = accessDocument(plan)
    this.end = { exitCode: exitCodeOfDiff(document), signal: null }
    return this.show(document, viewAccessDiff)
  }
}
