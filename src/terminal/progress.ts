import type { Screen } from './screen.ts'
import { plainLine } from './text.ts'

/**
 * Says on stderr what takes longer than a second: one moving line where somebody watches, otherwise a
 * plain line at the start and one at the end.
 */
export interface Progress {
  /** Runs `work` under a label such as `waiting for the agent`; one that changes is asked for anew. */
  step<T>(label: string | (() => string), work: () => Promise<T>): Promise<T>
  /** A line of its own, above the moving one. */
  say(message: string): void
  /** Takes the moving line off the screen before data is shown; it comes back. */
  clear(): void
}

const PATIENCE_MS = 1_000
const FRAME_MS = 120
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
const CLEAR_LINE = '\r\u001b[2K'

/** `quiet` (as with --json) runs the work and says nothing of steps; messages are still said. */
export function openProgress(screen: Screen, options: { quiet?: boolean } = {}): Progress {
  if (options.quiet)
    return {
      step: (_label, work) => work(),
      say: (text) => screen.say(plainLine(text)),
      clear() {},
    }
  return screen.isWatched ? movingLine(screen) : plainLines(screen)
}

type Label = string | (() => string)

function textOf(label: Label): string {
  return typeof label === 'string' ? label : label()
}

function plainLines(screen: Screen): Progress {
  return {
    say: (message) => screen.say(plainLine(message)),
    clear() {},
    async step(label, work) {
      let told: string | undefined
      const timer = setTimeout(() => {
        told = plainLine(textOf(label))
        screen.say(`${told} …`)
      }, PATIENCE_MS)
      try {
        const result = await work()
        if (told !== undefined) screen.say(`${told}: done`)
        return result
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

function movingLine(screen: Screen): Progress {
  const running: { label: Label; since: number }[] = []
  let timer: NodeJS.Timeout | undefined
  let frame = 0
  const draw = () => {
    const now = performance.now()
    const slow = running.filter((step) => now - step.since >= PATIENCE_MS)
    const latest = slow.at(-1)
    if (!latest) return
    const spinner = screen.talkStyle.cyan(FRAMES[frame++ % FRAMES.length]!)
    const seconds = screen.talkStyle.dim(`${Math.round((now - latest.since) / 1000)} s`)
    screen.talk.write(`${CLEAR_LINE}${spinner} ${plainLine(textOf(latest.label))} ${seconds}`)
  }
  const clear = () => screen.talk.write(CLEAR_LINE)
  return {
    clear() {
      if (timer) clear()
    },
    say(message) {
      if (timer) clear()
      screen.say(plainLine(message))
    },
    async step(label, work) {
      const step = { label, since: performance.now() }
      running.push(step)
      timer ??= setInterval(draw, FRAME_MS)
      try {
        return await work()
      } finally {
        running.splice(running.indexOf(step), 1)
        if (running.length === 0) {
          clearInterval(timer)
          timer = undefined
          clear()
        }
      }
    },
  }
}
