import { resolve } from 'node:path'
import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { requestToSend } from '../../device/certificate-by-owner.ts'
import { viewRequest } from '../../terminal/certificate-views.ts'

export default class CertsRequest extends McmCommand {
  static override summary = 'ask the owner of a cluster for a certificate'
  static override description =
    'For clusters whose owner issues (register --issuer local). Prints a text to send to the owner, who answers it with certs sign. ' +
    'The key is made here and stays here; the text holds no secret. Until the answer is installed it is always the same text.'
  static override examples = [
    '<%= config.bin %> certs request edge',
    '<%= config.bin %> certs request edge --output edge.request',
  ]
  static override args = {
    cluster: Args.string({ required: true, description: 'name or id of the cluster' }),
  }
  static override flags = {
    output: Flags.string({ description: 'write the text to this file' }),
  }

  async run() {
    const { args, flags } = await this.parse(CertsRequest)
    const request = await requestToSend(await this.device(), args.cluster)
    this.say(`to be signed by ${request.owner}, with: mcm certs sign`)
    if (flags.output === undefined) return this.show(request, viewRequest)
    const file = resolve(flags.output)
    await this.runtime.kubeconfigFiles.writeFileAtomic(file, request.request, 0o600)
    return this.show({ ...request, file }, () => `written: ${file}\n`)
  }
}
