import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { lineRunner } from '../../src/device/run-line.ts'
import { tokenInFile, tokenInVariable } from '../../src/terminal/token-flags.ts'

const run = (line: string, env: Record<string, string> = {}) =>
  lineRunner({ PATH: process.env['PATH'], ...env }, new AbortController().signal, () => {})(
    line,
    {},
  )

test('a file is read as it is called, whatever the shell would make of its name', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'mcm-token-'))
  try {
    const path = join(directory, 'it\'s $(touch here) `x` "y"')
    await writeFile(path, 'a.b.c')
    await chmod(path, 0o600)
    expect(await run(tokenInFile(path).command)).toBe('a.b.c')
  } finally {
    await rm(directory, { recursive: true })
  }
})

test('a variable is printed as it is', async () => {
  const { command } = tokenInVariable('token-env', 'MCM_ID_TOKEN')
  expect(await run(command, { MCM_ID_TOKEN: 'a.b.c $(x) %s' })).toBe('a.b.c $(x) %s')
})

test.each(['', '$X', 'A;reboot', 'a b', '1A'])('%j is no name of a variable', (name) => {
  expect(() => tokenInVariable('token-env', name)).toThrow('is no name of a variable')
})
