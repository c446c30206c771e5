/**
 * Makes the agent's image without any container engine: `npm run image` writes image/mcm-agent.tar, which
 * `ctr -n k8s.io image import` and `docker load` take. The same sources and the same Node give the same bytes.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { imageArchive } from './image/archive.ts'
import { bundleProgram } from './image/bundle.ts'
import { NODE_PATH, runtimeFiles, USER_ID } from './image/runtime.ts'

const root = join(import.meta.dirname, '..')
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }

const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
const { values } = parseArgs({
  options: {
    name: { type: 'string', default: `docker.io/library/mcm-agent:${version}` },
    out: { type: 'string', default: join(root, 'image/mcm-agent.tar') },
    entry: { type: 'string', default: 'scripts/image/agent-entry.ts' },
    node: { type: 'string', default: process.execPath },
  },
})

/** All that the program itself reads of it. */
const program = { name: 'mcm', version, type: 'module', oclif: { bin: 'mcm', dirname: 'mcm' } }
const bundle = await bundleProgram(values.entry, root)
const archive = imageArchive({
  name: values.name,
  architecture: ARCHITECTURES[process.arch] ?? process.arch,
  layers: [
    await runtimeFiles(values.node),
    [
      { path: 'app/agent.js', content: bundle },
      { path: 'app/package.json', content: Buffer.from(`${JSON.stringify(program)}\n`) },
      { path: 'app/LICENSE', content: await readFile(join(root, 'LICENSE')) },
    ],
  ],
  config: {
    User: `${USER_ID}:${USER_ID}`,
    Entrypoint: [`/${NODE_PATH}`, '/app/agent.js'],
    WorkingDir: '/app',
    Env: ['PATH=/usr/local/bin', 'NODE_ENV=production'],
    Labels: {
      'org.opencontainers.image.title': 'mcm-agent',
      'org.opencontainers.image.version': version,
    },
  },
})
await mkdir(dirname(values.out), { recursive: true })
await writeFile(values.out, archive)
process.stdout.write(`${values.name} → ${values.out} (${Math.round(archive.length / 1e6)} MB)\n`)
