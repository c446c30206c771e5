import { once } from 'node:events'
import { connect } from 'node:tls'
import { afterEach, expect, test } from 'vitest'
import { DEFAULT_LIMITS } from '../../src/hub/limits.ts'
import { type Listener, listen } from '../../src/hub/listener.ts'
import { hubMetrics } from '../../src/hub/metrics.ts'
import { createHubCertificate } from '../../src/pki/hub-certificate.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { realWorld } from '../../src/runtime.ts'

let listener: Listener

afterEach(() => listener.destroy())

test.each([
  ['mcm-tunnel/1', ['mcm-tunnel/1']],
  ['h2', ['h2']],
  ['http/1.1', []],
])(
  'what breaks as a connection of %s begins ends that one alone, and is told',
  async (protocol, alpn) => {
    const failures: string[][] = []
    let isBroken = true
    let served = 0
    const serve = () => {
      if (isBroken) throw new TypeError('a bug')
      served += 1
    }
    const { privateKeyPem: keyPem } = generateKeyPair()
    const { pem } = await createHubCertificate(realWorld(), keyPem, ['127.0.0.1:1'])
    const receivers = { onTunnel: serve, onHttp1: serve, onHttp2: serve }
    const onFailure = (...failure: string[]) => void failures.push(failure)
    listener = await listen(
      {
        limits: DEFAULT_LIMITS,
        metrics: hubMetrics(),
        certificate: { pem, keyPem },
        ...receivers,
        onFailure,
      },
      { host: '127.0.0.1', port: 0 },
    )
    const { port } = listener.address
    const options = { host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: alpn }
    const broken = connect(options)
    broken.on('error', () => {})
    await once(broken.resume(), 'close')
    expect(failures).toEqual([[protocol, 'a bug']])
    isBroken = false
    const whole = connect(options)
    await once(whole, 'secureConnect')
    await expect.poll(() => served).toBe(1)
    whole.destroy()
  },
)
