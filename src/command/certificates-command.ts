import { Flags } from '@oclif/core'
import { McmCommand } from '../command.ts'
import { withFleetOrAgents } from '../device/fleet-or-agents.ts'
import type { Traveller } from '../device/way-to-agent.ts'

/** A command about certificates where they are issued: which clusters it means, and how it gets to their agents. */
export abstract class CertificatesCommand extends McmCommand {
  static readonly placeFlags = {
    cluster: Flags.string({
      multiple: true,
      description: 'only there: names, ids, globs or a label selector (default: everywhere)',
    }),
    direct: Flags.boolean({
      description:
        'the direct addresses of the agents only, leaving the hub out: for when it stands in the way',
    }),
  }

  /** With the hub; where none answers, or with --direct, by the directory kept here and to agents at their own addresses. */
  protected async fleetOrAgents<T>(
    { direct: isDirect = false }: { readonly direct?: boolean | undefined },
    work: (traveller: Traveller) => Promise<T>,
  ): Promise<T> {
    return withFleetOrAgents(await this.device(), work, { isDirect })
  }
}
