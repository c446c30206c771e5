import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Config } from '@oclif/core'
import { build } from 'esbuild'

const root = join(import.meta.dirname, '..', '..')

/**
 * Builds mcm as `npm run build` does, into a directory of its own, and gives the path of its `bin/run.js`. So
 * sessions need no build beforehand, never see an old one, and start as fast as the real thing.
 */
export async function buildProgram(): Promise<{ path: string; remove(): Promise<void> }> {
  // Below node_modules, so that what is not bundled is found.
  const cache = join(root, 'node_modules', '.cache')
  await mkdir(cache, { recursive: true })
  const directory = await mkdtemp(join(cache, 'mcm-sessions-'))
  const source = join(root, 'src')
  const commands = (await readdir(join(source, 'commands'), { recursive: true }))
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(source, 'commands', name))
  await build({
    absWorkingDir: root,
    entryPoints: [...commands, join(source, 'main.ts'), join(source, 'fast.ts')],
    outbase: source,
    outdir: join(directory, 'dist'),
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external: ['keytar'],
    banner: {
      js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url);",
    },
    logLevel: 'error',
  })
  await mkdir(join(directory, 'bin'))
  await copyFile(join(root, 'bin', 'run.js'), join(directory, 'bin', 'run.js'))
  await copyFile(join(root, 'package.json'), join(directory, 'package.json'))
  const config = await Config.load({ root: directory, devPlugins: false, userPlugins: false })
  const plugin = [...config.plugins.values()][0] as unknown as { manifest: unknown }
  await writeFile(join(directory, 'oclif.manifest.json'), JSON.stringify(plugin.manifest))
  return {
    path: join(directory, 'bin', 'run.js'),
    remove: () => rm(directory, { recursive: true, force: true }),
  }
}
