/**
 * `node test/clients/prepare.ts` makes ready the clients that others wrote, so that no test has to wait for a build. What
 * cannot be had is said; the tests that want it say it again, and fail where it is required.
 */

import type { Possibility } from '../cluster/possibility.ts'
import { GO_CLIENTS, goClientIsPossible } from './go-programs.ts'
import { INSTALLED_CLIENTS, installedClientIsPossible } from './installed.ts'
import { kubeRsIsPossible } from './kube-rs.ts'

async function prepare(name: string, look: () => Promise<Possibility>): Promise<void> {
  const startedAt = Date.now()
  const found = await look()
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1)
  console.log(
    `[clients] ${name} ${found.possible ? `is ready (${seconds} s)` : `CANNOT BE HAD HERE: ${found.reason}`}`,
  )
}

// These wait for the network while the builds take the cores.
const installing = INSTALLED_CLIENTS.map((client) =>
  prepare(client, () => installedClientIsPossible(client)),
)
for (const client of GO_CLIENTS) await prepare(client, () => goClientIsPossible(client))
await prepare('kube-rs', kubeRsIsPossible)
await Promise.all(installing)
