/** Programs about the container and its processes. */
import { setTimeout as sleepFor } from 'node:timers/promises'
import { sinkOf, sourceOf } from './node-streams.ts'
import { NOTHING } from './pipe.ts'
import {
  ended,
  Killed,
  killable,
  killableSink,
  type Program,
  type ProgramContext,
  say,
} from './process.ts'
import { findProgram } from './program-path.ts'

const SIGNALS: Readonly<Record<string, number>> = { HUP: 1, INT: 2, QUIT: 3, KILL: 9, TERM: 15 }
const UNIT_MS: Readonly<Record<string, number>> = {
  '': 1000,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
/** Node's timers hold no more. */
const MAX_SLEEP_MS = 0x7fff_ffff

export const SYSTEM_PROGRAMS: Readonly<Record<string, Program>> = {
  true: async () => 0,
  false: async () => 1,
  env: async (context) => {
    const assigned = context.words.slice(1).filter((word) => /^\w+=/.test(word))
    const rest = context.words.slice(1 + assigned.length)
    const env = new Map(context.env)
    for (const word of assigned) env.set(word.split('=')[0]!, word.slice(word.indexOf('=') + 1))
    if (rest.length > 0) return await runFound({ ...context, env }, rest)
    await say(context.stdout, [...env].map(([name, value]) => `${name}=${value}\n`).join(''))
    return 0
  },
  printenv: async ({ words, env, stdout }) => {
    const value = env.get(words[1] ?? '')
    if (value !== undefined) await say(stdout, `${value}\n`)
    return Number(value === undefined)
  },
  sleep: async ({ words, stderr, signal }) => {
    const match = /^(\d*\.?\d+)([smhd]?)$|^infinity$/.exec(words[1] ?? '')
    if (!match) {
      await say(stderr, `sleep: invalid number '${words[1] ?? ''}'\n`)
      return 1
    }
    const milliseconds = match[1] ? Number(match[1]) * UNIT_MS[match[2]!]! : MAX_SLEEP_MS
    try {
      await sleepFor(Math.min(milliseconds, MAX_SLEEP_MS), undefined, { signal })
    } catch {
      signal.throwIfAborted()
    }
    return 0
  },
  date: async ({ container, words, stdout }) => {
    const now = container.world.now()
    const isSeconds = words[1] === '+%s'
    await say(stdout, isSeconds ? `${Math.floor(now.getTime() / 1000)}\n` : `${dateText(now)}\n`)
    return 0
  },
  hostname: async ({ container, stdout }) => {
    await say(stdout, `${container.hostname}\n`)
    return 0
  },
  whoami: async ({ stdout }) => {
    await say(stdout, 'root\n')
    return 0
  },
  id: async ({ words, stdout }) => {
    await say(stdout, words[1] === '-u' ? '0\n' : 'uid=0(root) gid=0(root) groups=0(root)\n')
    return 0
  },
  uname: async ({ container, words, stdout }) => {
    const all = `Linux ${container.hostname} 0.0-sandbox #1 mcm sandbox x86_64 GNU/Linux`
    await say(stdout, words[1] === '-a' ? `${all}\n` : 'Linux\n')
    return 0
  },
  ps: async ({ container, stdout }) => {
    const lines = container.processes
      .list()
      .map(([pid, { command }]) => `${String(pid).padStart(5)} root      0:00 ${command}\n`)
    await say(stdout, `PID   USER     TIME  COMMAND\n${lines.join('')}`)
    return 0
  },
  kill,
  which: async ({ container, words, stdout }) => {
    const missing = words.slice(1).filter((name) => !container.programs.has(name))
    const found = words.slice(1).filter((name) => container.programs.has(name))
    await say(stdout, found.map((name) => `/bin/${name}\n`).join(''))
    return Number(missing.length > 0)
  },
  stty: async ({ words, terminal, stdout, stderr }) => {
    if (!terminal) {
      await say(stderr, 'stty: standard input: Not a tty\n')
      return 1
    }
    const { rows, columns } = terminal.size
    if (words[1] === 'size') await say(stdout, `${rows} ${columns}\n`)
    return 0
  },
  tty: async ({ terminal, stdout }) => {
    await say(stdout, terminal ? '/dev/pts/0\n' : 'not a tty\n')
    return Number(!terminal)
  },
  nc: listen,
}

async function kill(context: ProgramContext): Promise<number> {
  const [first = '', ...rest] = context.words.slice(1)
  const named = /^-(?:SIG)?(\w+)$/.exec(first)?.[1]
  const number = named === undefined ? SIGNALS.TERM! : (SIGNALS[named] ?? Number(named))
  let code = 0
  for (const word of named === undefined ? [first, ...rest] : rest) {
    const running = context.container.processes.get(Number(word))
    if (running) running.kill(number)
    else {
      await say(context.stderr, `sh: can't kill pid ${word}: No such process\n`)
      code = 1
    }
  }
  context.signal.throwIfAborted()
  return code
}

/** `nc -ll -p PORT -e PROGRAM…`: every connection is the stdin and stdout of a program of its own. */
async function listen(context: ProgramContext): Promise<number> {
  const { container, words, stderr, signal } = context
  const port = Number(words[words.indexOf('-p') + 1])
  const program = words.slice(words.indexOf('-e') + 1)
  if (!/-l/.test(words.join(' ')) || !words.includes('-e') || !(port > 0)) {
    await say(stderr, 'nc: the sandbox knows only nc -ll -p PORT -e PROGRAM\n')
    return 1
  }
  if (container.ports.has(port)) {
    await say(stderr, 'nc: bind: Address already in use\n')
    return 1
  }
  container.ports.set(port, (connection) => {
    const gone = new AbortController()
    connection.once('close', () => gone.abort(new Killed(SIGNALS.TERM!)))
    const both = AbortSignal.any([signal, gone.signal])
    const ends = {
      stdin: killable(sourceOf(connection), both),
      stdout: killableSink(sinkOf(connection), both),
      signal: both,
    }
    void ended(runFound({ ...context, ...ends }, program)).then(() => connection.end())
  })
  try {
    for (;;) await SYSTEM_PROGRAMS.sleep!({ ...context, words: ['sleep', 'infinity'] })
  } finally {
    container.ports.delete(port)
  }
}

async function runFound(context: ProgramContext, words: readonly string[]): Promise<number> {
  const found = findProgram(context.container, context.directory, words)
  if (typeof found !== 'string')
    return await found.run({ ...context, words: found.words, stdin: context.stdin ?? NOTHING })
  await say(context.stderr, `${context.words[0]}: can't execute '${words[0]}'\n`)
  return 127
}

function dateText(now: Date): string {
  const [day, date, month, year, time] = now.toUTCString().replace(',', '').split(' ')
  return `${day} ${month} ${date!.padStart(2)} ${time} UTC ${year}`
}
