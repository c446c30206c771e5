import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/** A next step that nobody can take is worse than none: what a hint or a document tells to type is there. */

const root = join(import.meta.dirname, '..', '..')
const filesBelow = (directory: string, ending: string) =>
  readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(directory, name))

const commands = new Set(
  filesBelow('src/commands', '.ts').map((file) =>
    file
      .replace(/^src\/commands\//, '')
      .replace(/(\/index)?\.ts$/, '')
      .replaceAll('/', ' '),
  ),
)
/** Of a plugin of the command framework. */
commands.add('autocomplete')

/** Words behind `mcm` that are no command: a hint may also be about mcm. */
const PROSE = new Set(['itself', 'with', 'did', 'is', 'keeps', 'sees', 'version'])

function isCommand(first: string, second: string | undefined): boolean {
  // Or a purpose that is signed, as `mcm enrol v1`, or a topic.
  if (second === undefined) return [...commands].some((id) => id.split(' ')[0] === first)
  return second === 'v' || commands.has(first) || commands.has(`${first} ${second}`)
}

/** `mcm WORD WORD` in each text, where the words are no command. */
function unknownCommands(texts: readonly string[]): string[] {
  return texts.flatMap((text) =>
    [...text.matchAll(/\bmcm ([a-z][a-z-]*)(?:[ |]([a-z][a-z-]*))?/g)]
      .filter(([, first, second]) => !PROSE.has(first!) && !isCommand(first!, second))
      .map(([words]) => words),
  )
}

test('every command that a hint names exists', () => {
  const hints = filesBelow('src', '.ts').flatMap((file) =>
    [
      ...readFileSync(join(root, file), 'utf8').matchAll(
        /hint:\s+(?:[^'"`\n]*\n?\s*)?(['"`])(.*?)\1/gs,
      ),
    ].map(([, , text]) => text!),
  )
  expect(hints.length).toBeGreaterThan(100)
  expect(unknownCommands(hints)).toEqual([])
})

test('every command that a document tells to type exists', () => {
  const documents = ['README.md', 'CONTRIBUTING.md', ...filesBelow('docs', '.md')]
  const typed = documents.flatMap((file) =>
    [
      ...readFileSync(join(root, file), 'utf8').matchAll(/(?:`|^\$ |^ {2,}|; )(mcm .*?)(?:`|$)/gm),
    ].map(([, text]) => text!),
  )
  expect(typed.length).toBeGreaterThan(20)
  expect(unknownCommands(typed)).toEqual([])
})
