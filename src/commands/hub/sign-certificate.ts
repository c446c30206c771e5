import { Flags } from '@oclif/core'
import { McmCommand } from '../../command.ts'
import { openFleet } from '../../device/fleet-session.ts'
import { DEFAULT_OVERLAP_MS } from '../../device/rotate-authorities.ts'
import { signHubCertificate } from '../../device/sign-hub-certificate.ts'
import { overlapFlag } from '../../terminal/flag-values.ts'
import { viewHubCertificate } from '../../terminal/rotation-views.ts'

export default class HubSignCertificate extends McmCommand {
  static override summary = 'sign the next certificate of the hub, as an administrator of the fleet'
  static override description =
    'The hub makes one when two thirds of the life of its own are over, or when it is started with --next-certificate, and shows it when the overlap ' +
    'is over. Whoever uses mcm notices nothing, agents neither. Kubeconfigs for plain kubectl have to be refreshed once before that: mcm kubeconfig --merge. ' +
    'When its time has come whatever an administrator does signs it, for 30 days on. ' +
    'A hub that had to be given a new certificate at once: --pin is what mcm hub start prints there.'
  static override examples = [
    '<%= config.bin %> hub sign-certificate',
    '<%= config.bin %> hub sign-certificate --overlap 7d',
    '<%= config.bin %> hub sign-certificate --pin ZqZ3rWbFf2o0xAq4D1hY5uUqz8s2Jk3cV7mN0pL9tEw',
  ]
  static override flags = {
    overlap: Flags.string({
      description: 'how long the one of now is shown still (default: 24h)',
      exclusive: ['pin'],
    }),
    pin: Flags.string({
      description: 'pin of a certificate that is shown already, by its operator',
    }),
  }

  async run() {
    const { flags } = await this.parse(HubSignCertificate)
    const { pin } = flags
    const overlapMs =
      flags.overlap === undefined ? DEFAULT_OVERLAP_MS : overlapFlag('overlap', flags.overlap)
    const session = await openFleet(await this.device(), (candidates) =>
      pin === undefined ? candidates : candidates.map((each) => ({ ...each, pin })),
    )
    try {
      return this.show(await signHubCertificate(session, overlapMs), viewHubCertificate)
    } finally {
      session.hub.close()
    }
  }
}
