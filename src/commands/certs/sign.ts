import { resolve } from 'node:path'
import { Args, Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { signCertificateRequest } from '../../device/owner-issuing.ts'
import { viewSigned, viewSignedFor } from '../../terminal/certificate-views.ts'
import { durationFlag } from '../../terminal/flag-values.ts'
import { readInput } from '../../terminal/prompt.ts'

export default class CertsSign extends McmCommand {
  static override summary = 'sign a certificate that somebody asks for, as the owner of the cluster'
  static override description =
    'For clusters registered here with --issuer local. Name and groups come from the signed directory, only the key from the request, ' +
    'which the device of that person must have signed. Prints the certificate to send back; it holds no secret.'
  static override examples = [
    '<%= config.bin %> certs sign bob.request',
    '<%= config.bin %> certs sign bob.request --ttl 7d --output bob.crt',
    'pbpaste | <%= config.bin %> certs sign -',
  ]
  static override args = {
    file: Args.string({
      required: true,
      description: 'what certs request printed; - reads it from stdin',
    }),
  }
  static override flags = {
    ttl: Flags.string({ default: '12h', description: 'how long it is good, 30d at most' }),
    output: Flags.string({ description: 'write the certificate to this file' }),
  }

  async run() {
    const { args, flags } = await this.parse(CertsSign)
    const { kubeconfigFiles: files, screen, stdin } = this.runtime
    const input = { files, screen, stdin }
    const text = await readInput(input, args.file, 'paste the request: ')
    const seconds = Math.floor(durationFlag('ttl', flags.ttl) / 1000)
    const signed = await signCertificateRequest(await this.device(), text, seconds)
    this.say(viewSignedFor(signed))
    if (flags.output === undefined) return this.show(signed, viewSigned)
    const file = resolve(flags.output)
    await this.runtime.kubeconfigFiles.writeFileAtomic(file, signed.certificate, 0o600)
    return this.show({ ...signed, file }, () => `written: ${file}\n`)
  }
}
