import { join } from 'node:path'
import { hubDatabasePath, hubIdentity } from '../hub/data.ts'
import { startHub } from '../hub/hub.ts'
import { ensureStartToken } from '../hub/start-token.ts'
import { hubStore, openHubDatabase } from '../hub/store.ts'
import { formatLink } from '../protocol/link.ts'
import type { Log, World } from '../world.ts'

const HOST = '127.0.0.1'
// A certificate names hosts, not ports.
const ANY_PORT = 443

export interface LocalHub {
  readonly endpoint: string
  /** For the first administrator; a secret. */
  readonly startLink: string
  stop(): Promise<void>
}

/** A hub on loopback, its data under `directory`. The certificate names the host; the port is any free one. */
export async function startLocalHub(
  deps: { readonly world: World; readonly log: Log; readonly directory: string },
  version: string,
): Promise<LocalHub> {
  const { world, log } = deps
  const data = join(deps.directory, 'hub')
  const { certificate, pin } = await hubIdentity(world, data, [`${HOST}:${ANY_PORT}`], false)
  const database = await openHubDatabase(hubDatabasePath(data))
  const token = await ensureStartToken(hubStore(database), world)
  if (!token) throw new Error('a new hub has a fleet already')
  const hub = await startHub(
    { world, log, database, certificate },
    { host: HOST, port: 0, version },
  )
  const endpoint = `${HOST}:${hub.address.port}`
  return {
    endpoint,
    startLink: formatLink({
      kind: 'start',
      endpoints: [endpoint],
      hubPin: pin,
      token: token.reveal(),
    }),
    stop: async () => {
      await hub.stop()
      await database.destroy()
    },
  }
}
