import { Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { applyAccess, exitCodeOfApply } from '../../device/access-apply.ts'
import { accessDocument } from '../../device/access-document.ts'
import { readAccessFile } from '../../device/access-file.ts'
import { planAccess } from '../../device/access-plan.ts'
import { EXIT_ALL_FAILED, EXIT_SOME_FAILED } from '../../errors.ts'
import { viewAccessDiff, viewApplied } from '../../terminal/access-views.ts'
import { confirm } from '../../terminal/prompt.ts'

export default class AccessApply extends McmCommand {
  static override summary = 'make access.yaml true in every cluster'
  static override description =
    'With your own rights: what you may not do there, the API server refuses. Whatever mcm granted and the file does not declare is taken away, except what is your own; nothing else is touched. ' +
    'What stopped in the middle is finished by applying again. ' +
    `Exit code: 0 when all of it is true, ${EXIT_SOME_FAILED} when some clusters have problems, ${EXIT_ALL_FAILED} when all have.`
  static override examples = [
    '<%= config.bin %> access apply',
    '<%= config.bin %> access apply --file team/access.yaml --yes',
  ]
  static override flags = {
    file: Flags.string({ char: 'f', default: 'access.yaml', description: 'the declaration' }),
    yes: Flags.boolean({ description: 'do not ask before something is taken away' }),
  }

  async run() {
    const { flags } = await this.parse(AccessApply)
    const { screen, stdin } = this.runtime
    const declared = await readAccessFile(flags.file)
    const applied = await this.fleet(async (session) => {
      const plan = await planAccess(session, declared)
      const document = accessDocument(plan)
      const losing = document.people.filter(({ removed }) => removed.length > 0).length
      const removals = document.summary.remove + losing
      if (removals > 0 && !flags.yes) {
        screen.say(viewAccessDiff(document, { ...screen, style: screen.talkStyle }))
        await confirm(screen, stdin, `this takes ${removals} things away`)
      }
      return applyAccess(session, plan)
    })
    this.end = { exitCode: exitCodeOfApply(applied), signal: null }
    return this.show(applied, viewApplied)
  }
}
