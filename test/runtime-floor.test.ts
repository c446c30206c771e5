import { expect, test } from 'vitest'
import {
  type RuntimeFacts,
  requirePrivateRuntime,
  requireServerRuntime,
} from '../src/runtime-floor.ts'

const GOOD: RuntimeFacts = {
  nodeVersion: 'v24.21.0',
  nodeArguments: ['--enable-source-maps', '--max-old-space-size=400', ''],
  tlsRejectUnauthorized: undefined,
}

test('a present Node with harmless options is accepted', () => {
  expect(() => requireServerRuntime(GOOD, 'the hub')).not.toThrow()
  expect(() =>
    requireServerRuntime({ ...GOOD, nodeVersion: process.version }, 'the hub'),
  ).not.toThrow()
  expect(() =>
    requireServerRuntime({ ...GOOD, tlsRejectUnauthorized: '1' }, 'the hub'),
  ).not.toThrow()
  expect(() => requireServerRuntime({ ...GOOD, nodeVersion: 'v25.8.2' }, 'the hub')).not.toThrow()
})

test.each(['v24.14.0', 'v24.0.0', 'v22.22.2', 'v20.20.2', '', 'unknown'])(
  'Node %s is below the floor',
  (nodeVersion) => {
    expect(() => requireServerRuntime({ ...GOOD, nodeVersion }, 'the hub')).toThrow(
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
  expect(() => requireServerRuntime({ ...GOOD, nodeArguments: [argument] }, 'the hub')).toThrow(
    argument.split('=', 1)[0]!,
  )
})

test('certificate checks cannot be switched off by the environment', () => {
  expect(() => requireServerRuntime({ ...GOOD, tlsRejectUnauthorized: '0' }, 'the hub')).toThrow(
    'NODE_TLS_REJECT_UNAUTHORIZED',
  )
})

test('the sentence says which program does not run like this', () => {
  expect(() => requireServerRuntime({ ...GOOD, nodeArguments: ['--inspect'] }, 'the hub')).toThrow(
    'the hub does not run with --inspect',
  )
})

test.each([
  '--inspect',
  '--inspect-brk=0',
  '--inspect_port=0',
  '--tls-keylog=/tmp/k',
  '--trace-tls',
])(
  'a program on one’s own machine does not run with %s, which shows its keys to others',
  (argument) => {
    expect(() => requirePrivateRuntime({ nodeArguments: [argument] }, 'mcm proxy')).toThrow(
      expect.objectContaining({ code: 'MCM_UNSUPPORTED_RUNTIME' }),
    )
  },
)

test.each([
  '--enable-source-maps',
  '--max-old-space-size=400',
  '--use-system-ca',
  '--use-openssl-ca',
  '--openssl-config=/etc/fips.cnf',
  '--require=/opt/agent.js',
  '--report-on-signal',
  '',
])('a program on one’s own machine runs with %s, which a developer may need', (argument) => {
  expect(() => requirePrivateRuntime({ nodeArguments: [argument] }, 'mcm proxy')).not.toThrow()
})
