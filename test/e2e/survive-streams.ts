/** Streams of real kubectl that run while something happens, and say afterwards whether they noticed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { connectLocal, forwardedPorts, type LocalConnection } from './forwarded-port.ts'
import { LongRunning } from './program.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** One stream under way. */
export interface UnderWay {
  readonly name: string
  /** It goes on: what is sent now gets through, nothing was lost or repeated. */
  goesOn(): Promise<void>
  /** Ends it as its user would; it must end well. */
  end(): Promise<void>
  readonly program: LongRunning
}

/** Numbers, several a second, from a command that exits with 7 when it is told to. */
export async function startCounting(kubectl: string, env: Env, name: string): Promise<UnderWay> {
  const loop =
    '(n=0; while true; do n=$((n+1)); echo "tick $n"; sleep 0.1; done) & ' +
    'while read line; do echo "heard $line"; [ "$line" = over ] && { kill $!; exit 7; }; done'
  const args = ['exec', '-i', 'shell', '--', 'sh', '-c', loop]
  const program = new LongRunning(kubectl, args, env, 'pipe')
  await program.shows(/tick 3\n/)
  let said = 0
  const ticks = () => [...program.stdout.matchAll(/tick (\d+)\n/g)].map(([, n]) => Number(n))
  const isUnbroken = () => expect(ticks()).toEqual(ticks().map((_, index) => index + 1))
  return {
    name,
    program,
    async goesOn() {
      said += 1
      program.child.stdin!.write(`word ${said}\n`)
      await program.shows(new RegExp(`heard word ${said}\\n`), 60_000)
      const before = ticks().length
      await expect.poll(() => ticks().length, { timeout: 30_000 }).toBeGreaterThan(before + 2)
      isUnbroken()
    },
    async end() {
      program.child.stdin!.write('over\n')
      expect(await program.ended).toBe(7)
      isUnbroken()
      expect(program.stdout.match(/heard word/g)?.length).toBe(said)
    },
  }
}

/** `logs -f` of a pod that says something every second. */
export async function startFollowing(kubectl: string, env: Env): Promise<UnderWay> {
  const args = ['logs', '-f', 'ticker', '--timestamps', '--since=1s']
  const program = new LongRunning(kubectl, args, env)
  await program.shows(/tick\n/)
  const lines = () => program.stdout.split('\n').filter((line) => line !== '')
  return {
    name: 'logs -f',
    program,
    async goesOn() {
      const now = new Date().toISOString()
      const isNew = () => lines().some((line) => line.split(' ')[0]! > now)
      await expect.poll(isNew, { timeout: 60_000 }).toBe(true)
      expect(new Set(lines()).size).toBe(lines().length)
    },
    async end() {
      await program.stop('SIGINT')
      const times = lines().map((line) => new Date(line.split(' ')[0]!).getTime())
      const gaps = times.slice(1).map((time, index) => time - times[index]!)
      // The pod speaks every second, and a busy machine is late: a line that is missing is two seconds or more.
      expect(gaps.filter((gap) => gap > 5_000)).toEqual([])
    },
  }
}

/** A watch; `touch` makes an event of that name. */
export async function startWatching(
  kubectl: string,
  env: Env,
  touch: (name: string) => Promise<void>,
): Promise<UnderWay> {
  const args = ['get', 'configmaps', '--watch-only', '-o', 'name']
  const program = new LongRunning(kubectl, args, env)
  let events = 0
  const goesOn = async () => {
    events += 1
    const name = `event-${process.pid}-${Math.trunc(performance.now())}-${events}`
    await touch(name)
    await program.shows(new RegExp(`configmap/${name}\\n`), 60_000)
  }
  // Until the watch stands its events are nobody's.
  await sleep(3_000)
  await goesOn()
  return {
    name: 'get --watch',
    program,
    goesOn,
    async end() {
      await program.stop('SIGINT')
      const seen = program.stdout.match(/configmap\/event-/g)?.length
      expect(seen).toBe(events)
    },
  }
}

/** `port-forward` with one connection that stays open. */
export async function startForwarding(kubectl: string, env: Env): Promise<UnderWay> {
  const program = new LongRunning(kubectl, ['port-forward', 'pod/ports', ':7001'], env)
  const [port] = await forwardedPorts(program, [7001])
  const connection: LocalConnection = await connectLocal(port!)
  await connection.roundTrip(Buffer.from('before'))
  return {
    name: 'port-forward',
    program,
    async goesOn() {
      await connection.roundTrip(Buffer.from(`still here at ${Date.now()}`))
      const other = await connectLocal(port!)
      await other.roundTrip(Buffer.alloc(300_000, 'x'))
      other.reset()
    },
    async end() {
      connection.reset()
      await program.stop('SIGINT')
    },
  }
}
