import { CertificatesCommand } from '../../command/certificates-command.ts'
import { chosenClusters } from '../../device/certificate-list.ts'
import { fetchCertificates } from '../../device/certificates.ts'
import { EXIT_SOME_FAILED } from '../../errors.ts'
import { viewRenewed } from '../../terminal/certificate-list-views.ts'

export default class CertsRenew extends CertificatesCommand {
  static override summary = 'get new certificates for this device now; the old ones end'
  static override description =
    'What runs goes on. The old ones open nothing new five minutes later, those in a kubeconfig of mode static included: write that anew. ' +
    'Nobody has to do this by hand: certificates are renewed in time by themselves.'
  static override examples = [
    '<%= config.bin %> certs renew',
    '<%= config.bin %> certs renew --cluster idc-k8s',
  ]
  static override flags = {
    ...CertificatesCommand.placeFlags,
  }

  async run() {
    const { flags } = await this.parse(CertsRenew)
    const outcomes = await this.fleetOrAgents(flags, (session) => {
      const clusters = chosenClusters(session, flags.cluster ?? [])
      return fetchCertificates(session, { clusters, renew: true, ends: true })
    })
    const isWhole = outcomes.every(({ problem }) => problem === undefined)
    if (!isWhole) this.end = { exitCode: EXIT_SOME_FAILED, signal: null }
    return this.show(outcomes, viewRenewed)
  }
}
