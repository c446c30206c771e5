import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'

/**
 * Bundles src/ into dist/: one entry a command (oclif finds them by path), one for the fast path, one
 * for the agent's image; shared code becomes shared chunks. Then writes oclif.manifest.json from them.
 */
const root = join(import.meta.dirname, '..')
const source = join(root, 'src')
const dist = join(root, 'dist')

const started = performance.now()
await rm(dist, { recursive: true, force: true })
const commands = (await readdir(join(source, 'commands'), { recursive: true }))
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join(source, 'commands', name))

await build({
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
})

// Loaded after the bundle exists: oclif reads the commands it finds in dist/.
const { Plugin } = await import('@oclif/core')
await rm(join(root, 'oclif.manifest.json'), { force: true })
const plugin = new Plugin({ root, type: 'core', ignoreManifest: true, errorOnManifestCreate: true })
await plugin.load()
await writeFile(join(root, 'oclif.manifest.json'), `${JSON.stringify(plugin.manifest, null, 2)}\n`)
process.stdout.write(
  `built ${commands.length} commands in ${Math.round(performance.now() - started)} ms\n`,
)
