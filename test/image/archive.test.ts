import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { ImageOptions } from '../../scripts/image/archive.ts'
import { imageArchive } from '../../scripts/image/archive.ts'

const OPTIONS: ImageOptions = {
  name: 'docker.io/library/mcm-agent:1.2.3',
  architecture: 'amd64',
  layers: [
    [{ path: 'bin/base', content: Buffer.from('base') }],
    [{ path: 'app/agent.js', content: Buffer.from('agent') }],
  ],
  config: {
    User: '65532:65532',
    Entrypoint: ['/bin/base'],
    WorkingDir: '/app',
    Env: [],
    Labels: {},
  },
}

const archive = imageArchive(OPTIONS)

function file(path: string): Buffer {
  return execFileSync('tar', ['-xOf', '-', path], { input: archive, maxBuffer: 1 << 26 })
}

// biome-ignore lint/suspicious/noExplicitAny: documents of two formats, looked at by path
function json(path: string): any {
  return JSON.parse(file(path).toString())
}

function digest(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

describe('as an OCI image layout', () => {
  const [listed] = json('index.json').manifests
  const manifest = json(`blobs/sha256/${listed.digest.slice(7)}`)

  it('says which version it is and what the image is called', () => {
    expect(json('oci-layout')).toEqual({ imageLayoutVersion: '1.0.0' })
    expect(listed.annotations).toEqual({
      'io.containerd.image.name': 'docker.io/library/mcm-agent:1.2.3',
      'org.opencontainers.image.ref.name': '1.2.3',
    })
    expect(listed.platform).toEqual({ architecture: 'amd64', os: 'linux' })
  })

  it('has every digest and size right, down to the layers before compression', () => {
    const config = json(`blobs/sha256/${manifest.config.digest.slice(7)}`)
    for (const described of [listed, manifest.config, ...manifest.layers]) {
      const bytes = file(`blobs/sha256/${described.digest.slice(7)}`)
      expect(digest(bytes)).toBe(described.digest)
      expect(bytes.length).toBe(described.size)
    }
    // biome-ignore lint/suspicious/noExplicitAny: as above
    const diffs = manifest.layers.map((layer: any) =>
      digest(gunzipSync(file(`blobs/sha256/${layer.digest.slice(7)}`))),
    )
    expect(config.rootfs).toEqual({ type: 'layers', diff_ids: diffs })
  })

  it('runs as nobody in particular', () => {
    const config = json(`blobs/sha256/${manifest.config.digest.slice(7)}`)
    expect(config).toMatchObject({
      os: 'linux',
      architecture: 'amd64',
      created: '1970-01-01T00:00:00Z',
      config: { User: '65532:65532', Entrypoint: ['/bin/base'] },
    })
  })

  it('is a docker archive of the same blobs too, under the name that docker uses', () => {
    const path = (described: { digest: string }) => `blobs/sha256/${described.digest.slice(7)}`
    expect(json('manifest.json')).toEqual([
      {
        Config: path(manifest.config),
        RepoTags: ['mcm-agent:1.2.3'],
        Layers: manifest.layers.map(path),
      },
    ])
  })
})

describe('the same parts', () => {
  it('give the same bytes', () => {
    expect(imageArchive(OPTIONS).equals(archive)).toBe(true)
  })

  it('in another order within a layer give the same bytes; other parts give others', () => {
    const changed = { ...OPTIONS, layers: [[{ path: 'bin/base', content: Buffer.from('x') }]] }
    expect(imageArchive(changed).equals(archive)).toBe(false)
  })
})

it('keeps a name with a registry of its own whole', () => {
  const name = 'registry.example:5000/team/mcm-agent:1'
  const other = imageArchive({ ...OPTIONS, name })
  const text = execFileSync('tar', ['-xOf', '-', 'manifest.json'], { input: other })
  expect(JSON.parse(text.toString())[0].RepoTags).toEqual([name])
})
