/**
 * The log of a pod (kubernetes `pkg/registry/core/pod/rest/log.go`). The seeded pods have some; no pod runs
 * here, so what follows is the sandbox saying so once a second, and other pods have no log at all.
 */
import type { ResourceContext } from '../context.ts'
import { type KubeObject, listAt, textAt } from '../json.ts'
import { badRequest, methodNotAllowed } from '../refusals.ts'
import { requireObject } from '../verbs/read.ts'

const TEXT = 'text/plain'
const FOLLOW_INTERVAL_MS = 1000
const LOG_ANNOTATION = 'sandbox.mcm.dev/log'

interface Line {
  readonly time: string
  readonly text: string
}

export async function answerLog(context: ResourceContext): Promise<number> {
  const { info, exchange } = context
  if (info.verb !== 'get') throw methodNotAllowed()
  const pod = requireObject(context)
  requireContainer(pod, exchange.query.get('container') ?? '')
  if (textAt(pod, 'spec', 'nodeName') === '') {
    exchange.respond(204, TEXT, '')
    return 204
  }
  const lines = selected(context, pod)
  if (exchange.query.get('follow') !== 'true') {
    exchange.respond(200, TEXT, lines.join(''))
    return 200
  }
  const stream = exchange.stream(200, TEXT)
  for (const line of lines) stream.write(line)
  if (isRunning(pod)) await follow(context, pod, (text) => stream.write(text))
  stream.end()
  return 200
}

/** @throws Refusal 400 */
function requireContainer(pod: KubeObject, asked: string): void {
  const names = listAt(pod, 'spec', 'containers').map((one) => textAt(one, 'name'))
  const podName = pod.metadata.name ?? ''
  if (asked === '' && names.length > 1)
    throw badRequest(
      `a container name must be specified for pod ${podName}, choose one of: [${names.join(' ')}]`,
    )
  if (asked !== '' && !names.includes(asked))
    throw badRequest(`container ${asked} is not valid for pod ${podName}`)
}

function isRunning(pod: KubeObject): boolean {
  return textAt(pod, 'status', 'phase') === 'Running'
}

function selected(context: ResourceContext, pod: KubeObject): string[] {
  const { query } = context.exchange
  const since = sinceTime(context)
  const recent = linesOf(pod).filter((line) => since === undefined || new Date(line.time) >= since)
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

/** The annotation holds one line each, a second apart from the pod's birth on. */
function linesOf(pod: KubeObject): readonly Line[] {
  const start = new Date(pod.metadata.creationTimestamp ?? 0).getTime()
  const text = pod.metadata.annotations?.[LOG_ANNOTATION] ?? ''
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.map((line, index) => ({
    time: new Date(start + (index + 1) * 1000).toISOString(),
    text: line,
  }))
}

function format({ exchange }: ResourceContext, { time, text }: Line): string {
  return exchange.query.get('timestamps') === 'true'
    ? `${time.replace('Z', '000000Z')} ${text}\n`
    : `${text}\n`
}

/** A line a second, until the client or the pod is gone. */
function follow(
  context: ResourceContext,
  pod: KubeObject,
  write: (text: string) => void,
): Promise<void> {
  const { sandbox, exchange, resource } = context
  let number = 0
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      number += 1
      const text = `sandbox: line ${number} of a pod that only pretends to run`
      write(format(context, { time: sandbox.world.now().toISOString(), text }))
    }, FOLLOW_INTERVAL_MS)
    const unsubscribe = sandbox.storage.subscribe(resource, ({ type, object }) => {
      if (type === 'DELETED' && object.metadata.uid === pod.metadata.uid) end()
    })
    const end = () => {
      clearInterval(timer)
      unsubscribe()
      resolve()
    }
    if (exchange.signal.aborted) end()
    else exchange.signal.addEventListener('abort', end, { once: true })
  })
}
