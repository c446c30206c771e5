import { DESCRIPTION_ANNOTATION } from '../access/label.ts'
import { PRESET_DESCRIPTIONS, PRESETS } from '../access/role.ts'
import { ownRoles } from './access-show.ts'
import type { FleetSession } from './fleet-session.ts'

/** A role that can be granted. */
export interface RoleSummary {
  readonly name: string
  readonly kind: 'preset' | 'own'
  readonly description: string
  /** Names of the clusters that have it; a preset is everywhere. */
  readonly clusters?: readonly string[]
}

/** The presets, and the roles that `mcm access apply` made in the clusters. */
export async function listRoles(session: FleetSession): Promise<RoleSummary[]> {
  const presets = PRESETS.map((name) => {
    return { name, kind: 'preset' as const, description: PRESET_DESCRIPTIONS[name] }
  })
  const own = (await ownRoles(session)).map(({ role: { metadata }, clusters }) => ({
    name: metadata.name,
    kind: 'own' as const,
    description: metadata.annotations?.[DESCRIPTION_ANNOTATION] ?? '',
    clusters,
  }))
  return [...presets, ...own]
}
