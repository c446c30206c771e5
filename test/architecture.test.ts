import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { expect, test } from 'vitest'

/**
 * The law of imports. A room may import rooms of earlier rows; rooms of one row never import each
 * other, unless the row says in which order they stand. Types count.
 */
const ROWS: readonly { readonly rooms: readonly string[]; readonly ordered?: boolean }[] = [
  { rooms: ['errors', 'secret', 'world', 'duplex', 'runtime-floor', 'young-space'] },
  { rooms: ['kube', 'protocol', 'access'], ordered: true },
  {
    rooms: [
      'directory',
      'pki',
      'store',
      'kubeconfig',
      'audit',
      'forward',
      'tunnel',
      'pipe',
      'client',
    ],
  },
  { rooms: ['device'] },
  { rooms: ['proxy', 'hub', 'agent', 'inspect', 'tenants', 'sandbox'] },
  // The only room that stands over several programs.
  { rooms: ['up'] },
  {
    rooms: [
      'terminal',
      'proxy-environment',
      'runtime',
      'credential',
      'command',
      'commands',
      'main',
      'fast',
    ],
    ordered: true,
  },
]

/** Who may import a third-party package, and why it is there. A new one is a new line in review. */
const PACKAGES: Readonly<Record<string, { rooms: readonly string[]; why: string }>> = {
  '@kubernetes/client-node': {
    rooms: ['kubeconfig'],
    why: 'every way a kubeconfig can authenticate',
  },
  '@oclif/core': { rooms: ['command', 'commands', 'main'], why: 'command line framework' },
  '@peculiar/x509': { rooms: ['pki'], why: 'certificates and requests' },
  'reflect-metadata': { rooms: ['pki'], why: '@peculiar/x509 needs it' },
  chalk: { rooms: ['terminal'], why: 'colour' },
  jose: { rooms: ['directory', 'client'], why: 'JWS; tokens of identity providers' },
  keytar: { rooms: ['store'], why: 'the keychain of the operating system' },
  kysely: { rooms: ['store', 'hub'], why: 'SQL for SQLite and PostgreSQL' },
  'openid-client': { rooms: ['client'], why: 'logging in at an identity provider' },
  pino: { rooms: ['runtime'], why: 'structured logs' },
  'prom-client': { rooms: ['hub'], why: 'metrics' },
  'proper-lockfile': { rooms: ['store'], why: 'locks between processes' },
  undici: { rooms: ['forward', 'client'], why: 'HTTP to the API server' },
  yaml: { rooms: ['kubeconfig'], why: 'YAML that keeps comments' },
  zod: { rooms: ['*'], why: 'checks at the edges' },
}

/** The outside world, and the only places that may touch it by name. */
const WORLD =
  /\b(process\.(env|exit|argv|stdout|stderr)\b|Date\.now\(|new Date\(\)|Math\.random\(|console\.)/
const WORLD_ROOMS = new Set(['runtime', 'terminal', 'command', 'main', 'fast', 'credential'])

const source = join(import.meta.dirname, '..', 'src')
const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
)

interface Import {
  readonly file: string
  readonly room: string
  readonly specifier: string
}

function roomOf(path: string): string {
  return path.split('/')[0]!.replace(/\.ts$/, '')
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(source, file), 'utf8')
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s*['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)import\s+['"]([^'"]+)['"]/g,
  )
  return [...found].map((match) => ({
    file,
    room: roomOf(file),
    specifier: (match[1] ?? match[2] ?? match[3])!,
  }))
}

function positionOf(room: string): { row: number; index: number } {
  const row = ROWS.findIndex((candidate) => candidate.rooms.includes(room))
  return { row, index: row < 0 ? -1 : ROWS[row]!.rooms.indexOf(room) }
}

function isAllowed(from: string, to: string): boolean {
  if (from === to) return true
  const [source, target] = [positionOf(from), positionOf(to)]
  if (source.row === 0) return target.row === 0 && target.index < source.index
  if (source.row !== target.row) return target.row < source.row
  return ROWS[source.row]!.ordered === true && target.index < source.index
}

const imports = files.flatMap(importsOf)
const relativeImports = imports.filter(({ specifier }) => specifier.startsWith('.'))
const packageImports = imports.filter(
  ({ specifier }) => !specifier.startsWith('.') && !isBuiltin(specifier),
)

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

test('every room stands in the table', () => {
  const unknown = new Set(files.map(roomOf).filter((room) => positionOf(room).row < 0))
  expect([...unknown]).toEqual([])
})

test('rooms import only rooms below them', () => {
  const wrong = relativeImports
    .map(({ file, room, specifier }) => ({
      file,
      room,
      target: roomOf(relative(source, resolve(source, dirname(file), specifier))),
    }))
    .filter(({ room, target }) => !isAllowed(room, target))
    .map(({ file, target }) => `${file} imports ${target}`)
  expect(wrong).toEqual([])
})

test('no command stands over several programs', () => {
  const programs = new Set(['proxy', 'hub', 'agent', 'sandbox', 'inspect', 'tenants'])
  const wrong = files
    .filter((file) => file.startsWith('commands/'))
    .map((file) => ({
      file,
      programs: new Set(
        importsOf(file)
          .map(({ specifier }) =>
            roomOf(relative(source, resolve(source, dirname(file), specifier))),
          )
          .filter((room) => programs.has(room)),
      ),
    }))
    .filter((entry) => entry.programs.size > 1)
  expect(wrong).toEqual([])
})

test('every third-party package has one owner', () => {
  const wrong = packageImports
    .map(({ file, room, specifier }) => ({ file, room, name: packageOf(specifier) }))
    .filter(
      ({ room, name }) => !PACKAGES[name]?.rooms.some((owner) => owner === room || owner === '*'),
    )
    .map(({ file, name }) => `${file} imports ${name}`)
  expect(wrong).toEqual([])
})

test('package.json lists exactly the packages that are imported, and the plugins oclif loads', () => {
  const manifest = JSON.parse(readFileSync(join(source, '..', 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
    oclif: { plugins: string[] }
  }
  const owned = Object.keys(PACKAGES)
  expect(Object.keys(manifest.dependencies).sort()).toEqual(
    [...owned, ...manifest.oclif.plugins].sort(),
  )
  const imported = new Set(packageImports.map(({ specifier }) => packageOf(specifier)))
  expect([...imported].sort()).toEqual(owned.sort())
})

test('clock, environment, randomness and standard streams come in by argument', () => {
  const wrong = files
    .filter((file) => !WORLD_ROOMS.has(roomOf(file)))
    .flatMap((file) =>
      readFileSync(join(source, file), 'utf8')
        .split('\n')
        .map((line, index) => ({
          line: line.replace(/^\s*(\*|\/\/|\/\*).*/, ''),
          place: `${file}:${index + 1}`,
        })),
    )
    .filter(({ line }) => WORLD.test(line))
    .map(({ place, line }) => `${place} ${line.trim()}`)
  expect(wrong).toEqual([])
})

test('no file has outgrown a second look without a reason', () => {
  const long = files
    .map((file) => ({ file, text: readFileSync(join(source, file), 'utf8') }))
    .filter(({ text }) => text.split('\n').length > 400 && !text.includes('Long because'))
    .map(({ file }) => file)
  expect(long).toEqual([])
})
