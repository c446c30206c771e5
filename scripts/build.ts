import { readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { build } from 'esbuild'

/**
 * Bundles src/ into dist/: one entry a command (oclif finds them by path), one for the fast path, one
 * for the agent's image; shared code becomes shared chunks. Then writes oclif.manifest.json from them.
 */
const root = join(import.meta.dirname, '..')
const source = join(root, 'src')
const dist = join(root, 'dist')
/** Programs that run from dist/ load chunks as they need them: the old ones stay this long. */
const STALE_CHUNK_MS = 3_600_000

const started = performance.now()
const commands = (await readdir(join(source, 'commands'), { recursive: true }))
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join(source, 'commands', name))

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: [...commands, join(source, 'main.ts'), join(source, 'fast.ts')],
  outbase: source,
  outdir: dist,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  sourcemap: 'linked',
  // keytar is a native addon that finds its binary beside itself.
  external: ['keytar'],
  // Bundled CommonJS packages call require() for Node's own modules.
  banner: {
    js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url);",
  },
  logLevel: 'warning',
  metafile: true,
})
await removeStale(new Set(Object.keys(metafile.outputs).map((path) => join(root, path))))

// Loaded after the bundle exists: oclif reads the commands it finds in dist/.
const { Plugin } = await import('@oclif/core')
await rm(join(root, 'oclif.manifest.json'), { force: true })
const plugin = new Plugin({ root, type: 'core', ignoreManifest: true, errorOnManifestCreate: true })
await plugin.load()
await writeFile(join(root, 'oclif.manifest.json'), `${JSON.stringify(plugin.manifest, null, 2)}\n`)
process.stdout.write(
  `built ${commands.length} commands in ${Math.round(performance.now() - started)} ms\n`,
)

/** A command that is no more goes at once; a shared chunk when nobody can be using it. */
async function removeStale(outputs: ReadonlySet<string>): Promise<void> {
  const entries = await readdir(dist, { recursive: true, withFileTypes: true })
  for (const entry of entries.filter((found) => found.isFile())) {
    const path = join(entry.parentPath, entry.name)
    if (outputs.has(path)) continue
    const isCommand = path.startsWith(join(dist, 'commands') + sep)
    const ageMs = Date.now() - (await stat(path)).mtimeMs
    if (isCommand || ageMs > STALE_CHUNK_MS) await rm(path, { force: true })
  }
}
