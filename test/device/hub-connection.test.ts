import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect, test } from 'vitest'
import { appendStatements } from '../../src/device/append.ts'
import { loadDirectory } from '../../src/device/directory-cache.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { hubCandidates } from '../../src/device/hub-connection.ts'
import { requireState } from '../../src/device/state.ts'
import { createHubCertificate } from '../../src/pki/hub-certificate.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { sha256 } from '../../src/protocol/keys.ts'
import { asAda, type TestFleet } from './fleet.ts'
import { eachWithFleet } from './scene.ts'

let fleet: TestFleet

eachWithFleet((founded) => {
  fleet = founded
})

/** An administrator signs what the hub is from now on. */
async function signHub(endpoints: string[], privateEndpoints: string[], certificateDer: Buffer) {
  const certificate = certificateDer.toString('base64')
  await asAda(fleet, (session) =>
    appendStatements(session, ({ key }) => [
      { type: 'hub', detail: { endpoints, privateEndpoints, certificate }, signers: [key] },
    ]),
  )
}

async function candidates(first: 'public' | 'private' = 'public') {
  const state = { ...(await requireState(fleet.ada.home)), endpoint: first }
  const directory = await loadDirectory(fleet.ada.home, state)
  return hubCandidates(state, directory, fleet.world.now())
}

async function otherCertificate() {
  const { privateKeyPem } = generateKeyPair()
  return createHubCertificate(fleet.world, privateKeyPem, ['127.0.0.1:8443'])
}

test('after login the hub is what the directory says, not what the link said', async () => {
  const { endpoint, pin } = fleet.hub
  expect(await candidates()).toEqual([{ endpoint, pin }])
})

test('public and private endpoints are both tried, the preferred kind first', async () => {
  const { endpoint, pin, certificateDer } = fleet.hub
  await signHub(['127.0.0.1:2', endpoint], ['127.0.0.1:1'], certificateDer)
  const order = async (first: 'public' | 'private') =>
    (await candidates(first)).map((each) => each.endpoint)
  expect(await order('public')).toEqual(['127.0.0.1:2', endpoint, '127.0.0.1:1'])
  expect(await order('private')).toEqual(['127.0.0.1:1', '127.0.0.1:2', endpoint])
  expect(await candidates()).toContainEqual({ endpoint, pin })
  // The first two answer nobody; the hub is reached all the same.
  expect(await withFleet(fleet.ada, async ({ connection }) => connection.candidate.endpoint)).toBe(
    endpoint,
  )
})

test('a new certificate is known before the hub shows it, and the old one serves until then', async () => {
  const { endpoint, pin } = fleet.hub
  const next = await otherCertificate()
  await signHub([endpoint], [], next.der)
  expect(await candidates()).toEqual([
    { endpoint, pin: next.fingerprint },
    { endpoint, pin },
  ])
  await withFleet(fleet.ada, async ({ connection }) => expect(connection.candidate.pin).toBe(pin))
})

test('a certificate that two newer ones replaced is not accepted any more', async () => {
  const { endpoint } = fleet.hub
  const [second, third] = [await otherCertificate(), await otherCertificate()]
  await signHub([endpoint], [], second.der)
  await signHub([endpoint], [], third.der)
  expect((await candidates()).map(({ pin }) => pin)).toEqual([
    third.fingerprint,
    second.fingerprint,
  ])
  await expect(withFleet(fleet.ada, async () => undefined)).rejects.toMatchObject({
    code: 'MCM_PIN_MISMATCH',
    exitCode: 7,
  })
})

test('a second hub with endpoints of its own does not replace the first', async () => {
  const other = await otherCertificate()
  await signHub(['127.0.0.1:1'], [], other.der)
  expect(await candidates()).toEqual([
    { endpoint: fleet.hub.endpoint, pin: sha256(fleet.hub.certificateDer) },
    { endpoint: '127.0.0.1:1', pin: other.fingerprint },
  ])
})

test('Ctrl-C ends a call that waits for its answer', async () => {
  const stopping = new AbortController()
  const device = { ...fleet.ada, signal: stopping.signal }
  const waiting = withFleet(device, async ({ hub }) => {
    fleet.hub.beforeAppend = () => new Promise(() => {})
    const answer = hub.append({
      statements: [fleet.hub.directory.statements[1]!.text],
      details: [],
    })
    setImmediate(() => stopping.abort())
    return answer
  })
  await expect(waiting).rejects.toMatchObject({ code: 'MCM_HUB_UNREACHABLE' })
})

test('a forward proxy that the environment names is gone through, and sees nothing but TLS', async () => {
  const seen: Buffer[] = []
  const proxy = createServer((_request, response) => response.writeHead(405).end())
  proxy.on('connect', (request, socket) => {
    const [host, port] = String(request.url).split(':')
    const target = connect(Number(port), host, () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
    socket.on('data', (chunk: Buffer) => seen.push(chunk))
    socket.pipe(target).pipe(socket)
    for (const end of [socket, target]) end.on('error', () => end.destroy())
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const { port } = proxy.address() as AddressInfo
  const asked: string[] = []
  const device = {
    ...fleet.ada,
    proxyFor: (target: URL) => {
      asked.push(target.host)
      return `http://127.0.0.1:${port}`
    },
  }
  expect(await withFleet(device, async ({ state }) => state.user)).toBe('ada')
  proxy.close()
  expect(asked).toEqual([fleet.hub.endpoint])
  expect(seen.length).toBeGreaterThan(0)
  expect(Buffer.concat(seen).toString('latin1')).not.toContain('/v1/')
})
