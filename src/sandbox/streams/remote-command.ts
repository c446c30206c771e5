/**
 * pods/exec and pods/attach (kubernetes `pkg/registry/core/pod/rest/subresources.go`, k8s.io/cri-streaming
 * `pkg/streaming/remotecommand`): who may, which container, then bytes between the client and a process.
 */
import type { Writable } from 'node:stream'
import type { ResourceContext } from '../context.ts'
import { type KubeObject, textAt } from '../json.ts'
import { needsCreateForStreams } from '../kubernetes-version.ts'
import type { Container, Process } from '../pods/container.ts'
import { sinkOf, sourceOf } from '../pods/node-streams.ts'
import type { ProcessStreams } from '../pods/process.ts'
import { attributesOf } from '../rbac/attributes.ts'
import { badRequest, forbidden, methodNotAllowed } from '../refusals.ts'
import { requireContainer } from '../subresources/container-name.ts'
import { requireObject } from '../verbs/read.ts'
import {
  type CommandOptions,
  type CommandStreams,
  type ExitStatus,
  openCommandStreams,
  V5,
} from './command-streams.ts'
import { offeredProtocols, PlainRefusal } from './upgrade.ts'

export function answerExec(context: ResourceContext): Promise<number> {
  const command = context.exchange.query.getAll('command')
  const isV5 = offeredProtocols(context.exchange.headers).includes(V5)
  return answerCommand(context, async (container, streams, connected) => {
    const process = container.exec(command, streams)
    connected(process)
    return execStatus(command, await process.exited, isV5)
  })
}

export function answerAttach(context: ResourceContext): Promise<number> {
  return answerCommand(context, async (container, streams, connected) => {
    const process = container.attach(streams)
    connected(process)
    await process.exited
    // How the main process ended is told by the pod's status.
    return { status: 'Success' }
  })
}

/** Starts and waits; tells of the process as soon as there is one. */
type Start = (
  container: Container,
  streams: ProcessStreams,
  connected: (process: Process) => void,
) => Promise<ExitStatus>

async function answerCommand(context: ResourceContext, start: Start): Promise<number> {
  const pod = requireStreamable(context)
  const name = requireContainer(pod, context.exchange.query.get('container') ?? '')
  requireUpgrade(context, pod)
  const options = commandOptions(context.exchange.query)
  const found = containerOf(context, pod, name, options)
  const isV5 = offeredProtocols(context.exchange.headers).includes(V5)
  // What the kubelet refuses, it refuses before a switch, but for those who asked the API server for v5.
  if (typeof found === 'string' && !isV5) throw new PlainRefusal(refusalCode(found), found)
  const streams = await openCommandStreams(context.exchange, options)
  if (!streams) return 101
  if (typeof found === 'string')
    streams.finish(internalError(`unable to upgrade connection: ${found}`))
  else await run(streams, options, (bound, connected) => start(found, bound, connected))
  await streams.closed
  return 101
}

/** As every stream begins: method, the right to create, the pod. @throws Refusal 403, 404, 405 */
export function requireStreamable(context: ResourceContext): KubeObject {
  const { info, user, sandbox } = context
  if (info.verb !== 'get' && info.verb !== 'create') throw methodNotAllowed()
  if (info.verb === 'get' && needsCreateForStreams(sandbox.kubernetesVersion)) {
    const { isAllowed, reason } = sandbox.authorize({ ...attributesOf(user, info), verb: 'create' })
    if (!isAllowed) throw forbidden(context.resource, info.name, reason)
  }
  return requireObject(context)
}

/** @throws Refusal 400 */
export function requireUpgrade({ exchange, info }: ResourceContext, pod: KubeObject): void {
  if (textAt(pod, 'spec', 'nodeName') === '')
    throw badRequest(`pod ${info.name} does not have a host assigned`)
  const to = exchange.upgrade?.to
  if (to !== 'websocket' && to !== 'spdy') throw badRequest('Upgrade request required')
}

const NO_STREAM = 'you must specify at least 1 of stdin, stdout, stderr'

function refusalCode(sentence: string): number {
  return sentence === NO_STREAM ? 400 : 500
}

/** The running container, or why there is none to run in. */
function containerOf(
  { sandbox }: ResourceContext,
  pod: KubeObject,
  name: string,
  { stdin, stdout, stderr }: CommandOptions,
): Container | string {
  if (!stdin && !stdout && !stderr) return NO_STREAM
  const container = sandbox.node.containerOf(pod, name)
  return container ?? `container not found (${JSON.stringify(name)})`
}

/** apimachinery `pkg/runtime/conversion.go` Convert_Slice_string_To_bool. */
function commandOptions(query: URLSearchParams): CommandOptions {
  const is = (name: string) => {
    const value = query.get(name)
    return value !== null && value !== '0' && value.toLowerCase() !== 'false'
  }
  const tty = is('tty')
  return { stdin: is('stdin'), stdout: is('stdout'), stderr: is('stderr') && !tty, tty }
}

async function run(
  streams: CommandStreams,
  { tty }: CommandOptions,
  start: (streams: ProcessStreams, connected: (process: Process) => void) => Promise<ExitStatus>,
): Promise<void> {
  const stdout = streams.stdout && sinkOf(streams.stdout)
  const stderr = streams.stderr && sinkOf(streams.stderr)
  const ends = {
    ...(streams.stdin && { stdin: sourceOf(streams.stdin) }),
    ...(stdout && { stdout }),
    ...(stderr && { stderr }),
    isTerminal: tty,
  }
  const status = await start(ends, (process) => {
    if (tty && streams.resize) passSizes(streams.resize, process)
    void streams.closed.then(() => process.detach())
  })
  // The status may be the last thing the client reads, so it comes last.
  await Promise.all([endOf(streams.stdout), endOf(streams.stderr)])
  streams.finish(status)
}

/** Ends a stream; resolves once all of it has been sent, or it is closed. */
function endOf(stream: Writable | undefined): Promise<void> {
  if (!stream || stream.closed) return Promise.resolve()
  return new Promise((resolve) => {
    stream.once('finish', resolve)
    stream.once('close', resolve)
    stream.end()
  })
}

/** Sizes come as JSON objects one behind the other. */
function passSizes(resize: AsyncIterable<Buffer> & NodeJS.EventEmitter, process: Process): void {
  let text = ''
  resize.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8')
    for (let end = text.indexOf('}'); end >= 0; end = text.indexOf('}')) {
      const size = readSize(text.slice(0, end + 1))
      text = text.slice(end + 1)
      if (size) process.resize(size)
    }
    text = text.slice(-MAX_SIZE_TEXT)
  })
}

const MAX_SIZE_TEXT = 1024

function readSize(text: string): { columns: number; rows: number } | undefined {
  try {
    const { Width, Height } = JSON.parse(text) as Record<string, unknown>
    return typeof Width === 'number' && typeof Height === 'number'
      ? { columns: Width, rows: Height }
      : undefined
  } catch {
    return undefined
  }
}

/** containerd words it one way, the API server, which translates for v5, another. */
function execStatus(command: readonly string[], exitCode: number, isV5: boolean): ExitStatus {
  if (exitCode === 0) return { status: 'Success' }
  const how = isV5
    ? `command terminated with exit code ${exitCode}`
    : `error executing command [${command.join(' ')}], exit code ${exitCode}`
  return {
    status: 'Failure',
    message: `command terminated with non-zero exit code: ${how}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
  }
}

function internalError(sentence: string): ExitStatus {
  const message = `Internal error occurred: ${sentence}`
  const causes = [{ message: sentence }]
  return { status: 'Failure', message, reason: 'InternalError', details: { causes }, code: 500 }
}
