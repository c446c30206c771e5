import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildProgram } from './program.ts'
import { Stage } from './scenes.ts'
import { formatAnswer, parseSession } from './session.ts'

/** With MCM_WRITE_SESSIONS set, answers are written into the files, to be read before they are kept. */
const writes = process.env['MCM_WRITE_SESSIONS'] !== undefined
const names = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.txt'))

let program: Awaited<ReturnType<typeof buildProgram>>

beforeAll(async () => {
  program = await buildProgram()
}, 120_000)

afterAll(() => program.remove())

test.concurrent.each(names)(
  '%s reads as it does on a terminal',
  async (name) => {
    const path = join(import.meta.dirname, name)
    const text = readFileSync(path, 'utf8')
    const stage = await Stage.open(program.path)
    const answers = new Map<number, string>()
    try {
      for (const step of parseSession(text)) {
        if (step.kind === 'scene') await stage.prepare(step.words)
        else {
          const answer = formatAnswer(await stage.run(step.command))
          answers.set(step.line, answer)
          if (!writes)
            expect(`$ ${step.command}\n${answer}`).toBe(`$ ${step.command}\n${step.expected}`)
        }
      }
    } finally {
      await stage.close()
    }
    if (writes) writeFileSync(path, withAnswers(text, answers))
  },
  300_000,
)

function withAnswers(text: string, answers: ReadonlyMap<number, string>): string {
  const kept: string[] = []
  text.split('\n').forEach((line, index) => {
    const answer = answers.get(index + 1)
    if (/^([#%$] |$)/.test(line) || !kept.some((each) => each.startsWith('$ '))) kept.push(line)
    if (answer !== undefined && answer !== '') kept.push(answer)
  })
  return `${kept
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trimEnd()}\n`
}
