import { expect, test } from 'vitest'
import {
  directFlag,
  directListenFlag,
  durationFlag,
  endpointFlag,
  formatAddress,
  listenFlag,
  maximumAgeFlag,
  pairsFlag,
  timeFlag,
} from '../../src/terminal/flag-values.ts'

test('lengths of time have a unit', () => {
  expect(durationFlag('expires', '30m')).toBe(1_800_000)
  expect(durationFlag('expires', '7d')).toBe(604_800_000)
  for (const text of ['', '0h', '-1h', '1.5h', '24', '1w', '9999999h'])
    expect(() => durationFlag('expires', text)).toThrow('--expires')
})

test('a directory may not have to be younger than administrators confirm it', () => {
  expect(maximumAgeFlag('directory-max-age', '2d')).toBe(172_800_000)
  for (const text of ['47h', '1d', '5m'])
    expect(() => maximumAgeFlag('directory-max-age', text)).toThrow('shorter than two days')
})

test('pairs are NAME=VALUE, the value may be empty', () => {
  expect(pairsFlag('label', ['region=eu', 'empty='])).toEqual({ region: 'eu', empty: '' })
  for (const text of ['region', '=eu', 'a=b=c'])
    expect(() => pairsFlag('label', [text])).toThrow(text)
})

test('a pair cannot reach into the prototype', () => {
  const pairs = pairsFlag('label', ['__proto__=x'])
  expect(Object.getPrototypeOf(pairs)).toBe(Object.prototype)
  expect(Object.hasOwn(pairs, '__proto__')).toBe(true)
})

test.each([
  ['hub.example.com', 'hub.example.com:8443'],
  ['hub.example.com:443', 'hub.example.com:443'],
  ['10.0.0.5', '10.0.0.5:8443'],
  ['fd00::1', '[fd00::1]:8443'],
  ['[fd00::1]:443', '[fd00::1]:443'],
])('the host %s is the endpoint %s', (text, endpoint) => {
  expect(endpointFlag('host', text, 8443)).toBe(endpoint)
})

test.each(['', 'a b', 'https://hub', 'hub:0', 'hub:70000', '-hub', 'hub/x', 'user@hub'])(
  'the host %j is refused',
  (text) => {
    expect(() => endpointFlag('host', text, 8443)).toThrow('--host')
  },
)

test('what to listen on has an address and a port, each with a default', () => {
  expect(listenFlag('listen', undefined, '::', 8443)).toEqual({ host: '::', port: 8443 })
  expect(listenFlag('listen', ':0', '::', 8443)).toEqual({ host: '::', port: 0 })
  expect(listenFlag('listen', '127.0.0.1:9', '::', 8443)).toEqual({ host: '127.0.0.1', port: 9 })
  expect(listenFlag('listen', '[::1]:9', '::', 8443)).toEqual({ host: '::1', port: 9 })
  for (const text of ['8443', 'hub:1', '127.0.0.1:', '127.0.0.1:99999'])
    expect(() => listenFlag('listen', text, '::', 8443)).toThrow('--listen')
})

test('an address is written so that it can be read again', () => {
  expect(formatAddress({ host: '127.0.0.1', port: 1 })).toBe('127.0.0.1:1')
  expect(formatAddress({ host: '::1', port: 1 })).toBe('[::1]:1')
})

test.each([
  ['cluster.example.com:9443', 'cluster.example.com:9443', 'cluster.example.com:9444'],
  ['10.0.0.5:30443,30500', '10.0.0.5:30443', '10.0.0.5:30500'],
  ['[fd00::1]:9443', '[fd00::1]:9443', '[fd00::1]:9444'],
])('the direct address %s has sessions at %s and enrolment at %s', (text, sessions, enrolment) => {
  expect(directFlag('direct', text)).toEqual({ sessions, enrolment })
})

test.each([
  '',
  'h',
  'h:0',
  'h:65535',
  'h:1,1',
  'h:1,2,3',
  'h:1,',
  'a:1:2',
  'fd00::1',
  'h x:1',
  'h:1,x',
])('the direct address %j is refused', (text) => {
  expect(() => directFlag('direct', text)).toThrow('--direct')
})

test.each([
  [':9443', '::', 9443, 9444],
  ['127.0.0.1:0', '127.0.0.1', 0, 0],
  ['[::1]:9443,9500', '::1', 9443, 9500],
])('listening directly at %s', (text, host, session, enrolment) => {
  expect(directListenFlag('direct-listen', text, '::')).toEqual({
    host,
    ports: { session, enrolment },
  })
})

test.each(['9443', ':65535', ':1,2,3', ':1,x', 'host:1'])('listening at %j is refused', (text) => {
  expect(() => directListenFlag('direct-listen', text, '::')).toThrow('--direct-listen')
})

test('a time is written in UTC, with or without seconds', () => {
  expect(timeFlag('expires', '2030-01-31T18:00Z')).toEqual(new Date('2030-01-31T18:00:00Z'))
  expect(timeFlag('expires', '2030-01-31T18:00:09Z')).toEqual(new Date('2030-01-31T18:00:09Z'))
})

test.each([
  '',
  'tomorrow',
  '8h',
  '2030-01-31',
  '2030-01-31T18:00:00+01:00',
  '2030-13-01T00:00:00Z',
])('the time %j is refused with the flag’s name', (text) => {
  expect(() => timeFlag('expires', text)).toThrow('--expires')
})
