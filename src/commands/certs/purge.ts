import { Args, Flags } from '@oclif/core'
import { CertificatesCommand } from '../../command/certificates-command.ts'
import { exitCodeOfCertificates, purgeCertificates } from '../../device/certificate-end.ts'
import { viewEnded } from '../../terminal/certificate-list-views.ts'
import { endingWish } from '../../terminal/ending-wish.ts'
import { confirmRisk } from '../../terminal/prompt.ts'

export default class CertsPurge extends CertificatesCommand {
  static override summary = 'put certificates into the bin, from where they can be restored'
  static override description =
    'What runs on them is cut, and they open nothing. Named, or without a name those of yours that were revoked or replaced. ' +
    'They stay in the bin until they would have expired.'
  static override examples = [
    '<%= config.bin %> certs purge',
    '<%= config.bin %> certs purge 1f9c03d2',
    '<%= config.bin %> certs purge --user bob --cluster idc-k8s',
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
    yes: Flags.boolean({ description: 'do not ask' }),
  }

  async run() {
    const { args, flags } = await this.parse(CertsPurge)
    const { screen, stdin } = this.runtime
    const ended = await this.fleetOrAgents(flags, (session) =>
      purgeCertificates(session, endingWish(args, flags), async (risk) => {
        if (!flags.yes) await confirmRisk(screen, stdin, risk)
      }),
    )
    this.end = { exitCode: exitCodeOfCertificates(ended), signal: null }
    return this.show(ended, viewEnded)
  }
}
