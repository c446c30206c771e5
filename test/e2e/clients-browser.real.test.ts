import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAuthority } from '../../src/pki/authority.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { issueLoopbackCertificate } from '../../src/pki/profiles.ts'
import { realWorld } from '../../src/runtime.ts'
import { skipUnlessRequired } from '../clients/required.ts'
import { browse, browserIsPossible, OpenDoor } from './browser.ts'
import { answerOf, ask, type Endpoint } from './streams-client.ts'
import { StreamsStage } from './streams-stage.ts'

const skip = skipUnlessRequired('a browser page trying mcm proxy', await browserIsPossible())
const TRY_LIMIT_MS = 10_000

/** What a page may try. Each is the body of an async function of `at` (an https URL); it gives what the page learns. */
const TRIES = {
  'read an answer': `return (await fetch(at)).text()`,
  'send without reading': `return (await fetch(at, { mode: 'no-cors' })).type`,
  'post what a form may': `return (await fetch(at, { method: 'POST', mode: 'no-cors', body: '{}' })).type`,
  'post JSON': `return (await fetch(at, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })).text()`,
  delete: `return (await fetch(at, { method: 'DELETE' })).text()`,
  'say who to be': `return (await fetch(at, { headers: { 'impersonate-user': 'admin' } })).text()`,
  'open a WebSocket': `return new Promise((resolve, reject) => {
    const socket = new WebSocket(at.replace('https:', 'wss:'), ['v5.channel.k8s.io'])
    socket.onopen = () => resolve('open')
    socket.onerror = () => reject(new Error('refused'))
  })`,
  'load it as a script': `return new Promise((resolve, reject) => {
    const script = document.createElement('script')
    script.src = at
    script.onload = () => resolve('loaded')
    script.onerror = () => reject(new Error('refused'))
    document.head.append(script)
  })`,
  'show it in a frame': `return new Promise((resolve, reject) => {
    const frame = document.createElement('iframe')
    frame.src = at
    frame.onload = () => { try { resolve(frame.contentDocument.body.innerText) } catch { reject(new Error('hidden')) } }
    document.body.append(frame)
  })`,
  'send a form': `return new Promise((resolve) => {
    const [frame, form] = [document.createElement('iframe'), document.createElement('form')]
    frame.name = 'target'
    Object.assign(form, { method: 'post', action: at, target: 'target' })
    document.body.append(frame, form)
    frame.onload = () => resolve('sent')
    form.submit()
  })`,
} as const
type Try = keyof typeof TRIES

describe.skipIf(skip)('a page in a browser that holds the certificate of mcm proxy', () => {
  let stage: StreamsStage
  let endpoint: Endpoint
  let door: OpenDoor
  let site: Server
  let sitePort: number
  let page = ''
  let reported: (text: string) => void = () => {}

  beforeAll(async () => {
    stage = await StreamsStage.open()
    endpoint = stage.endpoint
    door = await OpenDoor.to(endpoint, await someCertificate())
    site = createServer(async (request, response) => {
      response.setHeader('content-type', 'text/html')
      if (request.method === 'POST') reported(await text(request))
      response.end(request.method === 'POST' ? '' : page)
    }).listen(0, '127.0.0.1')
    await once(site, 'listening')
    sitePort = (site.address() as AddressInfo).port
  })
  afterAll(async () => {
    site?.close().closeAllConnections()
    await door?.close()
    await stage?.close()
  })

  const pathOf = (id: string) => `${endpoint.prefix}/streams/count?id=${id}`

  /** Lets a page of `http://host` try everything on `https://<target>:<the port of mcm proxy>`. */
  async function tryAll(host: string, target: string): Promise<Record<Try, string>> {
    const { port } = endpoint
    page = pageThatTries(`https://${target}:${port}${pathOf(host)}`)
    const report = new Promise<string>((resolve) => {
      reported = resolve
    })
    const hosts = [
      `MAP ${host}:${port} 127.0.0.1:${door.port}`,
      `MAP ${target}:${port} 127.0.0.1:${door.port}`,
      `MAP ${host}:${sitePort} 127.0.0.1:${sitePort}`,
    ]
    const profile = await mkdtemp(join(tmpdir(), 'mcm-test-browser-'))
    const browser = browse(`http://${host}:${sitePort}/`, hosts, profile)
    try {
      const gone = browser.ended.then(() => {
        throw new Error(`the browser ended: ${browser.stderr}`)
      })
      return JSON.parse(await Promise.race([report, gone]))
    } finally {
      await browser.stop('SIGKILL')
      await rm(profile, { recursive: true, force: true, maxRetries: 10 })
    }
  }

  test('the door is open: what is no browser comes through it and is answered', async () => {
    const through = { ...endpoint, port: door.port, ca: '' }
    const request = ask(through, '/streams/count?id=program', {
      rejectUnauthorized: false,
      headers: { host: `${endpoint.host}:${endpoint.port}` },
    })
    request.end()
    expect(await answerOf(request)).toMatchObject({ status: 200 })
    expect(await stage.seen('program')).toMatchObject({ requests: 1 })
  })

  test.each([
    ['of another site', '127.0.0.1', '127.0.0.1'],
    ['whose name has been turned to this machine (DNS rebinding)', 'evil.test', 'evil.test'],
  ])(
    'a page %s learns nothing, and nothing it sends leaves this machine',
    async (_what, host, target) => {
      const before = door.statuses.length
      const learned = await tryAll(host, target)
      expect(learned).toEqual({
        'read an answer': 'refused: Failed to fetch',
        'send without reading': 'opaque',
        'post what a form may': 'opaque',
        'post JSON': 'refused: Failed to fetch',
        delete: 'refused: Failed to fetch',
        'say who to be': 'refused: Failed to fetch',
        'open a WebSocket': 'refused: refused',
        'load it as a script': 'refused: refused',
        'show it in a frame': expect.stringMatching(/^refused: /),
        'send a form': 'sent',
      } satisfies Record<Try, unknown>)
      const statuses = door.statuses.slice(before)
      expect(statuses.length).toBeGreaterThanOrEqual(Object.keys(TRIES).length)
      expect(new Set(statuses)).toEqual(new Set([403]))
      expect(door.text).not.toMatch(/^access-control-/im)
      expect(await stage.seen(host)).toEqual({ requests: 0, open: 0 })
    },
  )
})

function pageThatTries(at: string): string {
  const tries = Object.entries(TRIES).map(
    ([what, body]) => `[${JSON.stringify(what)}, async () => { ${body} }]`,
  )
  return `<!doctype html><body><script type="module">
    const at = ${JSON.stringify(at)}
    const learned = {}
    const late = () => new Promise((_, reject) => setTimeout(() => reject(new Error('no answer')), ${TRY_LIMIT_MS}))
    for (const [what, work] of [${tries.join(',\n')}])
      learned[what] = await Promise.race([work(), late()]).catch(({ message }) => 'refused: ' + message)
    await fetch('/report', { method: 'POST', body: JSON.stringify(learned) })
  </script></body>`
}

async function someCertificate(): Promise<{ cert: string; key: string }> {
  const world = realWorld()
  const authority = await createAuthority(world, { commonName: 'nobody knows' })
  const { privateKeyPem, publicKeyDer } = generateKeyPair()
  const { pem } = await issueLoopbackCertificate(world, authority, { publicKeyDer }, 86_400)
  return { cert: pem, key: privateKeyPem.reveal() }
}
