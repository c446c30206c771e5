import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { confirmRisk } from '../../src/terminal/prompt.ts'
import { openScreen } from '../../src/terminal/screen.ts'

/** Somebody at a terminal, or nobody, who answers with one line. */
function somebody(answer: string, isTTY = true) {
  const streams = [new PassThrough(), new PassThrough(), new PassThrough()] as const
  const [stdin, stdout, stderr] = streams.map((stream) => Object.assign(stream, { isTTY })) as [
    PassThrough & { isTTY: boolean },
    PassThrough & { isTTY: boolean },
    PassThrough & { isTTY: boolean },
  ]
  let said = ''
  stderr.on('data', (chunk: Buffer) => {
    said += chunk
  })
  stdin.end(`${answer}\n`)
  const screen = openScreen({ stdin, stdout, stderr }, { NO_COLOR: '1' })
  return { screen, stdin, said: () => said }
}

const HIGH = { level: 'high', name: 'bob', lost: ['bob loses all'] } as const
const LOW = { level: 'low', name: '0a0a0a', lost: ['what runs is cut'] } as const

test('what cannot be undone is done when its name was typed, after it was said what is lost', async () => {
  const { screen, stdin, said } = somebody('bob')
  await confirmRisk(screen, stdin, HIGH)
  expect(said()).toMatch(/^bob loses all\n.*Type bob to go on/s)
})

test.each(['yes', 'y', '', 'Bob', 'bobby'])('and is not done for %j', async (answer) => {
  const { screen, stdin } = somebody(answer)
  await expect(confirmRisk(screen, stdin, HIGH)).rejects.toMatchObject({
    message: 'stopped: nothing was changed',
  })
})

test('for what can be undone yes is enough', async () => {
  const { screen, stdin } = somebody('y')
  await confirmRisk(screen, stdin, LOW)
})

test.each([HIGH, LOW])('with nobody there it is not done, and --yes is named', async (risk) => {
  const { screen, stdin } = somebody('bob', false)
  await expect(confirmRisk(screen, stdin, risk)).rejects.toMatchObject({
    code: 'MCM_USAGE',
    hint: expect.stringContaining('--yes'),
  })
})

test('a name from elsewhere does not move the cursor', async () => {
  const { screen, stdin, said } = somebody('x')
  const risk = { level: 'high', name: 'b\u001b[2Job', lost: ['\u001b[31mred'] } as const
  await expect(confirmRisk(screen, stdin, risk)).rejects.toThrow()
  expect(said()).not.toContain('\u001b[2J')
  expect(said()).not.toContain('\u001b[31m')
})
