import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from '@oclif/core'
import { describe, expect, test } from 'vitest'

/** The grammar of the command line, the same for every command there is. */

const directory = join(import.meta.dirname, '..', '..', 'src', 'commands')
const files = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .sort()
const commands = await Promise.all(
  files.map(async (file) => {
    const module = (await import(join(directory, file))) as { default: typeof Command }
    const id = file
      .replace(/\.ts$/, '')
      .replace(/\/index$/, '')
      .replaceAll('/', ' ')
    return { id, command: module.default }
  }),
)

/** Commands whose output another program defines. */
const OTHERS_OUTPUT = ['credential', 'exec', 'kubectl', 'shell']
/** Commands that stand before another program’s words, often typed: as kubectl, they have a letter for the cluster. */
const CLUSTER_LETTER = ['exec', 'kubectl', 'shell']
/** Commands that read a declaration, with kubectl’s letter for it. */
const FILE_LETTER = ['access apply', 'access diff']

describe.each(commands)('mcm $id', ({ id, command }) => {
  const flags = Object.entries(command.flags ?? {})
  const args = Object.entries(command.args ?? {})

  test('says in one line and in a few what it does', () => {
    expect(command.summary).toMatch(/^[a-z].*[^.]$/)
    expect(command.description).toMatch(/^[A-Z].*\.$/s)
  })

  test('describes every flag and argument', () => {
    for (const [name, { description }] of [...flags, ...args])
      expect(description, name).toMatch(/^\S.*[^.]$/)
  })

  test('gives an example of itself, with long flags that exist', () => {
    const examples = (command.examples ?? []) as string[]
    expect(examples.length).toBeGreaterThan(0)
    for (const example of examples) {
      expect(example).toContain(`<%= config.bin %> ${id}`)
      // What follows are another program's words.
      const own = example.split(' -- ')[0]!
      expect(own).not.toMatch(/(^|\s)-[a-zA-Z](\s|$)/)
      for (const [, name] of own.matchAll(/--([a-z-]+)/g))
        expect([...flags.map(([flag]) => flag), 'json']).toContain(name)
    }
  })

  test('takes one argument at most, and no short flags but kubectl’s for the cluster and the file', () => {
    expect(args.length).toBeLessThanOrEqual(1)
    expect(flags.filter(([, flag]) => flag.char).map(([name]) => name)).toEqual(
      CLUSTER_LETTER.includes(id) ? ['cluster'] : FILE_LETTER.includes(id) ? ['file'] : [],
    )
  })

  test('asks before it destroys, or gives what somebody else has worded, and can be told not to', () => {
    const asks = /(^| )(remove|revoke|purge|logout|apply|approve)$/.test(id)
    expect(flags.some(([name]) => name === 'yes')).toBe(asks)
  })

  test('has --json, except where another program defines the output', () => {
    expect(command.enableJsonFlag).toBe(!OTHERS_OUTPUT.includes(id))
  })
})
