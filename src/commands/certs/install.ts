import { Args } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { installCertificate } from '../../device/certificate-by-owner.ts'
import { viewInstalled } from '../../terminal/certificate-views.ts'
import { readInput } from '../../terminal/prompt.ts'

export default class CertsInstall extends McmCommand {
  static override summary = 'use a certificate that the owner of a cluster has signed'
  static override description =
    'Keeps the answer to certs request, when it is for a key made here, in your name, and signed by the CA that the directory names for the cluster. ' +
    'From then on kubectl works until it ends; ask for the next one in time.'
  static override examples = [
    '<%= config.bin %> certs install bob.crt',
    'pbpaste | <%= config.bin %> certs install -',
  ]
  static override args = {
    file: Args.string({
      required: true,
      description: 'what certs sign printed; - reads it from stdin',
    }),
  }

  async run() {
    const { args } = await this.parse(CertsInstall)
    const { kubeconfigFiles: files, screen, stdin } = this.runtime
    const input = { files, screen, stdin }
    const text = await readInput(input, args.file, 'paste the certificate: ')
    return this.show(await installCertificate(await this.device(), text), viewInstalled)
  }
}
