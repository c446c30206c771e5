import { Args, Flags } from '@oclif/core'
import { CertificatesCommand } from '../../command/certificates-command.ts'
import { exitCodeOfCertificates, revokeCertificates } from '../../device/certificate-end.ts'
import { viewEnded } from '../../terminal/certificate-list-views.ts'
import { endingWish } from '../../terminal/ending-wish.ts'
import { confirmRisk } from '../../terminal/prompt.ts'

export default class CertsRevoke extends CertificatesCommand {
  static override summary = 'end a certificate, or all of a device or user, at once and for good'
  static override description =
    'The agents cut what runs within a second. One certificate: its device gets the next one by mcm certs renew, or when it is time to renew. A device, or a user: it gets none any more in these clusters. ' +
    'Yours; others’ where you may delete Secrets of mcm-system. To end somebody in the whole fleet use mcm revoke; where a hub keeps that from agents, --direct tells those that have an address of their own.'
  static override examples = [
    '<%= config.bin %> certs revoke 1f9c03d2',
    '<%= config.bin %> certs revoke --device old-laptop',
    '<%= config.bin %> certs revoke --user bob --cluster idc-k8s --yes',
    '<%= config.bin %> certs revoke --user bob --direct',
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
    const { args, flags } = await this.parse(CertsRevoke)
    const { screen, stdin } = this.runtime
    const ended = await this.fleetOrAgents(flags, (session) =>
      revokeCertificates(session, endingWish(args, flags), async (risk) => {
        if (!flags.yes) await confirmRisk(screen, stdin, risk)
      }),
    )
    this.end = { exitCode: exitCodeOfCertificates(ended), signal: null }
    return this.show(ended, viewEnded)
  }
}
