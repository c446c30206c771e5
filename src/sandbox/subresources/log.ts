/**
 * The log of a pod (kubernetes `pkg/registry/core/pod/rest/log.go`): what its main process said. The seeded pods have
 * one from the start, and go on once a second for whoever follows.
 */
import type { ResourceContext } from '../context.ts'
import type { AnswerStream } from '../exchange.ts'
import { type KubeObject, textAt } from '../json.ts'
import type { ContainerLog, LogLine } from '../pods/container-log.ts'
import { badRequest, methodNotAllowed } from '../refusals.ts'
import { answerStream } from '../streams/message-stream.ts'
import { requireObject } from '../verbs/read.ts'
import { requireContainer } from './container-name.ts'

const TEXT = 'text/plain'
const FOLLOW_INTERVAL_MS = 1000
const LOG_ANNOTATION = 'sandbox.mcm.dev/log'

export async function answerLog(context: ResourceContext): Promise<number> {
  const { info, exchange, sandbox } = context
  if (info.verb !== 'get') throw methodNotAllowed()
  const pod = requireObject(context)
  const container = requireContainer(pod, exchange.query.get('container') ?? '')
  if (textAt(pod, 'spec', 'nodeName') === '') {
    exchange.respond(204, TEXT, '')
    return 204
  }
  const log = sandbox.node.logOf(pod, container)
  const shown = log?.end ?? 0
  const lines = selected(context, linesOf(pod, log))
  const follows = exchange.query.get('follow') === 'true'
  if (!follows && exchange.upgrade?.to !== 'websocket') {
    exchange.respond(200, TEXT, lines.join(''))
    return 200
  }
  const stream = answerStream(exchange, TEXT, 'bytes')
  for (const line of lines) stream.write(line)
  if (follows && isRunning(pod)) await follow(context, { pod, container, log, shown, stream })
  stream.end()
  return 200
}

function isRunning(pod: KubeObject): boolean {
  return textAt(pod, 'status', 'phase') === 'Running'
}

function selected(context: ResourceContext, lines: readonly LogLine[]): string[] {
  const { query } = context.exchange
  const since = sinceTime(context)
  const recent = lines.filter((line) => since === undefined || new Date(line.time) >= since)
  const tail = query.get('tailLines')
  const shown =
    tail === null ? recent : recent.slice(recent.length - Math.min(count(tail), recent.length))
  return shown.map((line) => format(context, line))
}

function count(text: string): number {
  if (!/^\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax`)
  return Number(text)
}

function sinceTime({ exchange, sandbox }: ResourceContext): Date | undefined {
  const [seconds, time] = [exchange.query.get('sinceSeconds'), exchange.query.get('sinceTime')]
  if (seconds !== null) return new Date(sandbox.world.now().getTime() - count(seconds) * 1000)
  return time === null ? undefined : new Date(time)
}

/** What the container said; a seeded pod's annotation holds a line for each second since its birth. */
function linesOf(pod: KubeObject, log: ContainerLog | undefined): readonly LogLine[] {
  const start = new Date(pod.metadata.creationTimestamp ?? 0).getTime()
  const text = seededLog(pod)
  const lines = text.split('\n').filter((line) => line !== '')
  const seeded = lines.map((line, index) => ({
    time: new Date(start + (index + 1) * 1000).toISOString(),
    text: `${line}\n`,
  }))
  return [...seeded, ...(log?.lines() ?? [])]
}

function seededLog(pod: KubeObject): string {
  return pod.metadata.annotations?.[LOG_ANNOTATION] ?? ''
}

function format({ exchange }: ResourceContext, { time, text }: LogLine): string {
  const isTimed = exchange.query.get('timestamps') === 'true'
  return isTimed ? `${time.replace('Z', '000000Z')} ${text}` : text
}

interface Following {
  readonly pod: KubeObject
  readonly container: string
  readonly log: ContainerLog | undefined
  /** The place of the first line that is not shown yet. */
  readonly shown: number
  readonly stream: AnswerStream
}

/** What is said from now on, until the client, the container or the pod is gone; no faster than it is read. */
async function follow(context: ResourceContext, following: Following): Promise<void> {
  const { log, stream } = following
  let [next, isOver, wake] = [following.shown, false, () => {}]
  const unsubscribe = log?.subscribe(() => wake())
  const stop = whenOver(context, following, () => {
    isOver = true
    wake()
  })
  const timer = pretend(context, following)
  for (;;) {
    const wasOver = isOver
    const lines = log?.linesFrom(next) ?? []
    next = log?.end ?? 0
    for (const line of lines)
      if (!stream.write(format(context, line)) && !context.exchange.signal.aborted)
        await stream.drained()
    if (wasOver) break
    // What came meanwhile has woken nobody.
    if (!isOver && next === (log?.end ?? 0))
      await new Promise<void>((resolve) => {
        wake = resolve
      })
  }
  clearInterval(timer)
  unsubscribe?.()
  stop()
}

/** Calls back once the client, the container or the pod is gone; the answer ends the watch for it. */
function whenOver(
  { sandbox, exchange, resource }: ResourceContext,
  { pod, container }: Following,
  over: () => void,
): () => void {
  void sandbox.node.containerOf(pod, container)?.exited.then(() => setImmediate(over))
  if (exchange.signal.aborted) over()
  else exchange.signal.addEventListener('abort', over, { once: true })
  return sandbox.storage.subscribe(resource, ({ type, object }) => {
    if (type === 'DELETED' && object.metadata.uid === pod.metadata.uid) over()
  })
}

/** A seeded pod says something once a second to whoever follows it. */
function pretend(context: ResourceContext, { pod, stream }: Following): NodeJS.Timeout | undefined {
  if (seededLog(pod) === '') return undefined
  let number = 0
  return setInterval(() => {
    number += 1
    const text = `sandbox: line ${number} of a pod that only pretends to run\n`
    stream.write(format(context, { time: context.sandbox.world.now().toISOString(), text }))
  }, FOLLOW_INTERVAL_MS)
}
