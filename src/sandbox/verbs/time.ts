import type { World } from '../../world.ts'

/** A metav1.Time: whole seconds, UTC. */
export function now(world: World): string {
  return `${world.now().toISOString().slice(0, 19)}Z`
}
