import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

/**
 * `npm test`: types and lint, a build, the real Kubernetes parts where they can be had, then every
 * suite. A suite that cannot run is said loudly; in CI (or with MCM_TEST_REQUIRE=all) it is a failure.
 */
const root = join(import.meta.dirname, '..')
const requireAll = process.env['CI'] === 'true' || process.env['MCM_TEST_REQUIRE'] === 'all'

function run(title: string, command: string, args: readonly string[]): boolean {
  process.stderr.write(`\n── ${title}\n`)
  const { status } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  return status === 0
}

function mustRun(title: string, command: string, args: readonly string[]): void {
  if (run(title, command, args)) return
  process.stderr.write(`\nFAILED: ${title}\n\n0 passed, 1 failed, 0 skipped\n`)
  process.exit(1)
}

const bin = (name: string) => join(root, 'node_modules', '.bin', name)
mustRun('types', bin('tsc'), ['--noEmit'])
mustRun('lint', bin('biome'), ['check', '.'])
mustRun('build', process.execPath, ['scripts/build.ts'])

const projects = ['unit', 'isolated', 'sessions']
if (run('Kubernetes binaries', process.execPath, ['test/cluster/prepare.ts'])) {
  projects.push('real')
  // What cannot be had there, the tests that want it say, and fail where it is required.
  run('clients that others wrote', process.execPath, ['test/clients/prepare.ts'])
  if (process.getuid?.() === 0 && run('agent image', process.execPath, ['scripts/image.ts']))
    projects.push('node')
}
const missing = ['real', 'node'].filter((project) => !projects.includes(project))
for (const project of missing) {
  process.stderr.write(
    `\n!!! NOT RUN: suite "${project}": its real Kubernetes parts are not to be had here\n`,
  )
}
if (missing.length > 0 && requireAll)
  mustRun(`suites ${missing.join(' and ')} are required here`, 'false', [])

const tests = run('tests', bin('vitest'), [
  'run',
  ...projects.flatMap((name) => ['--project', name]),
])
process.exit(tests ? 0 : 1)
