import { Flags } from '@oclif/core'
import { CertificatesCommand } from '../../command/certificates-command.ts'
import { exitCodeOfCertificates } from '../../device/certificate-end.ts'
import { listCertificates } from '../../device/certificate-list.ts'
import { viewCertificates } from '../../terminal/certificate-list-views.ts'

export default class Certs extends CertificatesCommand {
  static override summary = 'list certificates across clusters: whose, until when, last used'
  static override description =
    'Each cluster’s agent says which it has issued and when each was used last. Yours, or with --all everybody’s in the clusters where you may list the Secrets of mcm-system; each agent is then also brought what it lacks of the directory, and one that was not is a problem. ' +
    'An address with a star is the hub’s word.'
  static override examples = [
    '<%= config.bin %> certs',
    '<%= config.bin %> certs --all --cluster env=prod',
    '<%= config.bin %> certs --user bob --json',
    '<%= config.bin %> certs --bin',
    '<%= config.bin %> certs --all --direct',
  ]
  static override flags = {
    all: Flags.boolean({ description: 'everybody’s', exclusive: ['user'] }),
    user: Flags.string({ description: 'those of this user' }),
    bin: Flags.boolean({ description: 'those that were purged and can be restored' }),
    ...CertificatesCommand.placeFlags,
  }

  async run() {
    const { flags } = await this.parse(Certs)
    const { all = false, bin = false, user, cluster: clusters = [] } = flags
    const query = {
      clusters,
      all,
      bin,
      bringsDirectory: all,
      ...(user === undefined ? {} : { user }),
    }
    const list = await this.fleetOrAgents(flags, (session) => listCertificates(session, query))
    this.end = { exitCode: exitCodeOfCertificates(list), signal: null }
    return this.show(list, viewCertificates)
  }
}
