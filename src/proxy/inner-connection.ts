import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { type InnerOptions, openInner } from '../client/inner.ts'
import { AccessDeniedError, isMcmError, UnreachableError } from '../errors.ts'
import type { PipeBudget } from '../pipe/budget.ts'
import { type CarrierWish, type InitiatedPipe, openPipe } from '../pipe/initiator.ts'
import { PIPE_EXPORTER_BYTES, PIPE_EXPORTER_LABEL } from '../pipe/proof.ts'
import type { Log, World } from '../world.ts'
import { type InnerPath, PipePath, PLAIN_PATH } from './inner-path.ts'

/** A connection to an agent whose handshake is over, and what it runs on. */
export interface InnerConnection {
  readonly socket: TLSSocket
  readonly path: InnerPath
}

export interface PipeSources {
  readonly world: World
  readonly log: Log
  readonly budget: PipeBudget
  /** For sentences: `the agent of idc-k8s`. */
  readonly peerName: string
  /** A carrier. */
  connectPipe(wish: CarrierWish): Promise<Duplex>
  /** A plain stream, for hubs and agents that know no pipes. */
  connect(): Promise<Duplex>
}

/** Shakes hands with the agent on a pipe. @throws what `connectPipe` and `openInner` throw */
export async function openPiped(
  sources: PipeSources,
  options: InnerOptions,
): Promise<InnerConnection> {
  const path = new PipePath()
  const pipe = await openOrNone(sources, path)
  if (!pipe) return openPlain(await sources.connect(), options)
  path.over = pipe.over
  pipe.stream.once('error', (error) => {
    if (isMcmError(error)) path.end = error
  })
  const socket = await openInner(pipe.stream, options)
  const exporter = socket.exportKeyingMaterial(
    PIPE_EXPORTER_BYTES,
    PIPE_EXPORTER_LABEL,
    Buffer.alloc(0),
  )
  pipe.arm(exporter)
  return { socket, path }
}

export async function openPlain(stream: Duplex, options: InnerOptions): Promise<InnerConnection> {
  return { socket: await openInner(stream, options), path: PLAIN_PATH }
}

/** Undefined where somebody on the way does not know what a pipe is, which looks like having no agent. */
async function openOrNone(
  sources: PipeSources,
  path: PipePath,
): Promise<InitiatedPipe | undefined> {
  const { connectPipe: dial } = sources
  try {
    const onChange = (isSuspended: boolean) => {
      path.isSuspended = isSuspended
    }
    return await openPipe({ ...sources, dial, onChange })
  } catch (error) {
    const isRefused = error instanceof AccessDeniedError || error instanceof UnreachableError
    if (isRefused && error.code !== 'MCM_HUB_UNREACHABLE') return undefined
    throw error
  }
}
