import { McmCommand } from '../../command.ts'
import { exitCodeOfCertificates, restoreCertificates } from '../../device/certificate-end.ts'
import { viewEnded } from '../../terminal/certificate-list-views.ts'
import { endingArgs, endingFlags, endingWish } from '../../terminal/ending-flags.ts'

export default class CertsRestore extends McmCommand {
  static override summary = 'take certificates out of the bin, as they were'
  static override description =
    'One that was revoked is revoked still. What somebody else has purged is for whoever may delete Secrets of mcm-system. See mcm certs --bin.'
  static override examples = [
    '<%= config.bin %> certs restore 1f9c03d2',
    '<%= config.bin %> certs restore --device laptop',
  ]
  static override args = endingArgs
  static override flags = endingFlags

  async run() {
    const { args, flags } = await this.parse(CertsRestore)
    const ended = await this.fleet((session) =>
      restoreCertificates(session, endingWish(args, flags)),
    )
    this.end = { exitCode: exitCodeOfCertificates(ended), signal: null }
    return this.show(ended, viewEnded)
  }
}
