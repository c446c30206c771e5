import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import type { TarEntry } from './tar.ts'
import { tarArchive } from './tar.ts'

/**
 * One archive that is an OCI image layout and a `docker save` archive at once, as Docker itself writes them
 * since 25: `ctr image import`, `docker load`, `podman load` and `skopeo` take it.
 */

export interface ImageOptions {
  /** Whole, with registry and tag, as containerd keeps it: `docker.io/library/mcm-agent:1.0`. */
  readonly name: string
  /** `amd64`, `arm64` */
  readonly architecture: string
  /** Lowest first. */
  readonly layers: readonly (readonly TarEntry[])[]
  readonly config: {
    readonly User: string
    readonly Entrypoint: readonly string[]
    readonly WorkingDir: string
    readonly Env: readonly string[]
    readonly Labels: Readonly<Record<string, string>>
  }
}

const OCI = 'application/vnd.oci.image'
/** Nothing is dated: the same parts give the same bytes. */
const CREATED = '1970-01-01T00:00:00Z'

/** The bytes of the archive. */
export function imageArchive(options: ImageOptions): Buffer {
  const layers = options.layers.map(layerBlob)
  const config = jsonBlob(`${OCI}.config.v1+json`, imageConfig(options, layers))
  const manifest = jsonBlob(`${OCI}.manifest.v1+json`, {
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: descriptor(config),
    layers: layers.map(descriptor),
  })
  const json = (path: string, value: unknown) => ({ path, content: jsonBytes(value) })
  return tarArchive([
    json('oci-layout', { imageLayoutVersion: '1.0.0' }),
    json('index.json', index(options, manifest)),
    json('manifest.json', [dockerManifest(options.name, config, layers)]),
    ...[config, manifest, ...layers].map((blob) => ({ path: blobPath(blob), content: blob.bytes })),
  ])
}

interface Blob {
  readonly mediaType: string
  readonly bytes: Buffer
  /** SHA-256, hex. */
  readonly digest: string
}

interface Layer extends Blob {
  /** Of the layer before compression. */
  readonly diffDigest: string
}

function layerBlob(entries: readonly TarEntry[]): Layer {
  const archive = tarArchive(entries)
  const bytes = gzipSync(archive, { level: 6 })
  const mediaType = `${OCI}.layer.v1.tar+gzip`
  return { mediaType, bytes, digest: sha256(bytes), diffDigest: sha256(archive) }
}

function imageConfig({ architecture, config }: ImageOptions, layers: readonly Layer[]) {
  const diffIds = layers.map(({ diffDigest }) => `sha256:${diffDigest}`)
  return {
    created: CREATED,
    architecture,
    os: 'linux',
    config,
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: layers.map(() => ({ created: CREATED, created_by: 'mcm scripts/image.ts' })),
  }
}

function index({ name, architecture }: ImageOptions, manifest: Blob) {
  const annotations = {
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
  }
  const platform = { architecture, os: 'linux' }
  return {
    schemaVersion: 2,
    mediaType: `${OCI}.index.v1+json`,
    manifests: [{ ...descriptor(manifest), platform, annotations }],
  }
}

/** Docker knows images of its own hub by their short name. */
function dockerManifest(name: string, config: Blob, layers: readonly Blob[]) {
  const shortName = name.replace(/^docker\.io\/(library\/)?/, '')
  return { Config: blobPath(config), RepoTags: [shortName], Layers: layers.map(blobPath) }
}

function descriptor({ mediaType, digest, bytes }: Blob) {
  return { mediaType, digest: `sha256:${digest}`, size: bytes.length }
}

function blobPath({ digest }: Blob): string {
  return `blobs/sha256/${digest}`
}

function jsonBlob(mediaType: string, value: unknown): Blob {
  const bytes = jsonBytes(value)
  return { mediaType, bytes, digest: sha256(bytes) }
}

function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
