import { expect, test } from 'vitest'
import { proxyFromEnvironment } from '../src/proxy-environment.ts'

const PROXY = 'http://proxy:3128'
const via = (no: string, url: string) =>
  proxyFromEnvironment({ HTTPS_PROXY: PROXY, NO_PROXY: no }, new URL(url))

test('HTTPS_PROXY is for what is dialled with TLS, lower case first, ALL_PROXY when there is no other', () => {
  const url = new URL('https://hub.example.com:8443')
  expect(proxyFromEnvironment({}, url)).toBeUndefined()
  expect(proxyFromEnvironment({ HTTPS_PROXY: PROXY }, url)).toBe(PROXY)
  expect(proxyFromEnvironment({ https_proxy: 'http://low', HTTPS_PROXY: PROXY }, url)).toBe(
    'http://low',
  )
  expect(proxyFromEnvironment({ ALL_PROXY: PROXY }, url)).toBe(PROXY)
  expect(proxyFromEnvironment({ HTTP_PROXY: PROXY }, url)).toBeUndefined()
  expect(proxyFromEnvironment({ HTTPS_PROXY: 'proxy:3128' }, url)).toBe(PROXY)
})

test.each([
  ['*', 'https://hub.example.com'],
  ['example.com', 'https://hub.example.com'],
  ['.example.com', 'https://hub.example.com'],
  ['*.example.com', 'https://hub.example.com'],
  ['a, hub.example.com ,b', 'https://HUB.example.com'],
  ['hub.example.com:8443', 'https://hub.example.com:8443'],
  ['10.0.0.0/8', 'https://10.1.2.3:8443'],
  ['10.1.2.3', 'https://10.1.2.3:8443'],
  ['[fd00::1]', 'https://[fd00::1]:8443'],
  ['0.0.0.0/0', 'https://10.1.2.3'],
])('NO_PROXY %s keeps %s direct', (no, url) => {
  expect(via(no, url)).toBeUndefined()
})

test.each([
  ['ample.com', 'https://hub.example.com'],
  ['hub.example.com:443', 'https://hub.example.com:8443'],
  ['10.0.0.0/8', 'https://11.1.2.3'],
  ['10.0.0.0/40', 'https://10.1.2.3'],
  ['', 'https://hub.example.com'],
])('NO_PROXY %s does not keep %s direct', (no, url) => {
  expect(via(no, url)).toBe(PROXY)
})

test('loopback is never sent to a proxy', () => {
  for (const host of ['localhost', '127.0.0.1', '[::1]'])
    expect(via('', `https://${host}:8443`)).toBeUndefined()
})
