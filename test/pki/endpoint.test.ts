import { expect, test } from 'vitest'
import { endpointHost, isDnsName, isInternal } from '../../src/pki/endpoint.ts'

test.each([
  ['Hub.Example.com:8443', { kind: 'dns', name: 'hub.example.com' }],
  ['localhost:1', { kind: 'dns', name: 'localhost' }],
  ['10.1.2.3:65535', { kind: 'ip', name: '10.1.2.3', bytes: Buffer.from('0a010203', 'hex') }],
  ['[::1]:443', { kind: 'ip', name: '::1', bytes: Buffer.from(`${'00'.repeat(15)}01`, 'hex') }],
  ['[::]:443', { kind: 'ip', name: '::', bytes: Buffer.alloc(16) }],
  [
    '[2001:DB8:0:0:1:0:0:1]:443',
    {
      kind: 'ip',
      name: '2001:db8::1:0:0:1',
      bytes: Buffer.from('20010db8000000000001000000000001', 'hex'),
    },
  ],
  [
    '[1:2:3:4:5:6:7:8]:443',
    {
      kind: 'ip',
      name: '1:2:3:4:5:6:7:8',
      bytes: Buffer.from('00010002000300040005000600070008', 'hex'),
    },
  ],
  [
    '[::ffff:1.2.3.4]:443',
    {
      kind: 'ip',
      name: '::ffff:102:304',
      bytes: Buffer.from('00000000000000000000ffff01020304', 'hex'),
    },
  ],
])('%s is reached by its host', (endpoint, host) => {
  expect(endpointHost(endpoint)).toEqual(host)
})

test.each([
  '',
  'hub',
  'hub:',
  ':1',
  'hub:0',
  'hub:65536',
  'hub:-1',
  'hub:1:2',
  '::1:443',
  '[::1]',
  '[hub]:1',
  '[1.2.3.4]:1',
  '[fe80::1%eth0]:1',
  '[1:2:3]:1',
  '1.2.3:1',
  '256.1.1.1:1',
  '*.example.com:1',
  'hub.example.com.:1',
  '-hub:1',
  'hub-:1',
  'h ub:1',
  'hüb:1',
  'hub:1\n',
])('%j names no host', (endpoint) => {
  expect(endpointHost(endpoint)).toBeUndefined()
})

test('a host name is at most 253 characters of labels of at most 63', () => {
  const label = 'x'.repeat(63)
  expect(isDnsName(`${label}.${label}.${label}.${'x'.repeat(61)}`)).toBe(true)
  expect(isDnsName(`${label}.${label}.${label}.${'x'.repeat(62)}`)).toBe(false)
  expect(isDnsName(`${label}x`)).toBe(false)
})

test('internal is the name and all below it, in any case, and nothing that ends alike', () => {
  for (const name of ['internal', 'a.internal', 'A.B.INTERNAL', 'a.internal.'])
    expect(isInternal(name), name).toBe(true)
  for (const name of ['notinternal', 'internal.com', 'a.internal.com', 'internal-x'])
    expect(isInternal(name), name).toBe(false)
})
