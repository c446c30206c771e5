/** Container images without a registry or an engine: a `docker save` archive around one folder. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { runCommand } from './run-command.ts'

export interface ImageConfig {
  readonly Entrypoint?: readonly string[]
  readonly Cmd?: readonly string[]
  /** `NAME=value` */
  readonly Env?: readonly string[]
  readonly User?: string
  readonly WorkingDir?: string
}

export interface ImageTarOptions {
  /** The archive to write. */
  readonly path: string
  /** With a registry-like host and a tag, `example.test/name:1`, or containerd changes it. */
  readonly name: string
  /** Becomes the root of the image's file system, everything owned by root. */
  readonly rootDirectory: string
  readonly config: ImageConfig
}

/**
 * Writes an image of this machine's architecture that `ctr images import` takes.
 * @throws Error with tar's last words
 */
export async function writeImageTar(options: ImageTarOptions): Promise<void> {
  const staging = await mkdtemp(join(tmpdir(), 'mcm-test-image-'))
  try {
    const layer = join(staging, 'layer.tar')
    await tar(layer, options.rootDirectory, ['.'])
    const config = JSON.stringify(imageConfig(options.config, await sha256(layer)))
    const manifest = [{ Config: 'config.json', RepoTags: [options.name], Layers: ['layer.tar'] }]
    await writeFile(join(staging, 'config.json'), config)
    await writeFile(join(staging, 'manifest.json'), JSON.stringify(manifest))
    await tar(options.path, staging, ['manifest.json', 'config.json', 'layer.tar'])
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

function imageConfig(config: ImageConfig, layerSha256: string) {
  return {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config,
    rootfs: { type: 'layers', diff_ids: [`sha256:${layerSha256}`] },
  }
}

async function tar(path: string, directory: string, names: readonly string[]): Promise<void> {
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--sort=name', '--mtime=@0']
  const made = await runCommand('tar', [...owner, '-C', directory, '-cf', path, ...names])
  if (made.exitCode !== 0) throw new Error(`tar of ${directory}: ${made.stderr.trim()}`)
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
