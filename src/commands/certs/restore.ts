import { Args, Flags } from '@oclif/core'
import { CertificatesCommand } from '../../command/certificates-command.ts'
import { exitCodeOfCertificates, restoreCertificates } from '../../device/certificate-end.ts'
import { viewEnded } from '../../terminal/certificate-list-views.ts'
import { endingWish } from '../../terminal/ending-wish.ts'

export default class CertsRestore extends CertificatesCommand {
  static override summary = 'take certificates out of the bin, as they were'
  static override description =
    'One that was revoked is revoked still. What somebody else has purged is for whoever may delete Secrets of mcm-system. See mcm certs --bin.'
  static override examples = [
    '<%= config.bin %> certs restore 1f9c03d2',
    '<%= config.bin %> certs restore --device laptop',
  ]
  static override args = {
    certificate: Args.string({
      description: 'its serial or fingerprint, or a beginning of it, as mcm certs shows it',
    }),
  }
  static override flags = {
    device: Flags.string({ description: 'those of this device: its name or id' }),
    user: Flags.string({ description: 'those of this user' }),
    ...CertificatesCommand.placeFlags,
  }

  async run() {
    const { args, flags } = await this.parse(CertsRestore)
    const ended = await this.fleetOrAgents(flags, (session) =>
      restoreCertificates(session, endingWish(args, flags)),
    )
    this.end = { exitCode: exitCodeOfCertificates(ended), signal: null }
    return this.show(ended, viewEnded)
  }
}
