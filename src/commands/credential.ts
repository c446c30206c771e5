import { Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { currentCredential } from '../credential/renewal.ts'

export default class Credential extends McmCommand {
  static override summary = 'print a certificate for kubectl; kubeconfigs call this'
  static override description =
    'The credential plugin of mcm (client.authentication.k8s.io/v1). It renews the certificate when that is due, also after it has expired.'
  static override examples = ['<%= config.bin %> credential --cluster c-abcdefghij']
  static override enableJsonFlag = false
  static override flags = {
    cluster: Flags.string({ required: true, description: 'id of the cluster' }),
  }

  async run() {
    const { flags } = await this.parse(Credential)
    const device = await this.runtime.openDevice({ quiet: true })
    this.runtime.screen.print(await currentCredential(device, flags.cluster))
  }
}
