import { expect, test } from 'vitest'
import { type RuntimeFacts, requireRuntime } from '../../src/agent/runtime-floor.ts'

const GOOD: RuntimeFacts = {
  nodeVersion: 'v24.21.0',
  nodeArguments: ['--enable-source-maps', '--max-old-space-size=400', ''],
  tlsRejectUnauthorized: undefined,
}

test('a present Node with harmless options is accepted', () => {
  expect(() => requireRuntime(GOOD)).not.toThrow()
  expect(() => requireRuntime({ ...GOOD, nodeVersion: process.version })).not.toThrow()
  expect(() => requireRuntime({ ...GOOD, tlsRejectUnauthorized: '1' })).not.toThrow()
  expect(() => requireRuntime({ ...GOOD, nodeVersion: 'v25.8.2' })).not.toThrow()
})

test.each(['v24.14.0', 'v24.0.0', 'v22.22.2', 'v20.20.2', '', 'unknown'])(
  'Node %s is below the floor',
  (nodeVersion) => {
    expect(() => requireRuntime({ ...GOOD, nodeVersion })).toThrow(
      expect.objectContaining({ code: 'MCM_UNSUPPORTED_RUNTIME' }),
    )
  },
)

test.each([
  '--insecure-http-parser',
  '--insecure_http_parser',
  '--inspect',
  '--inspect=0.0.0.0:9229',
  '--inspect-brk',
  '--debug-port=1',
  '--tls-keylog=/tmp/keys',
  '--trace-tls',
  '--tls-min-v1.0',
  '--openssl-legacy-provider',
  '--openssl-config=/tmp/x',
  '--heapsnapshot-signal=SIGUSR2',
  '--report-on-signal',
])('the option %s is refused by name', (argument) => {
  expect(() => requireRuntime({ ...GOOD, nodeArguments: [argument] })).toThrow(
    argument.split('=', 1)[0]!,
  )
})

test('certificate checks cannot be switched off by the environment', () => {
  expect(() => requireRuntime({ ...GOOD, tlsRejectUnauthorized: '0' })).toThrow(
    'NODE_TLS_REJECT_UNAUTHORIZED',
  )
})
