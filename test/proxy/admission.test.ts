import { describe, expect, it } from 'vitest'
import { readHeaderLines } from '../../src/forward/headers.ts'
import { type Arrival, admit, localHosts } from '../../src/proxy/admission.ts'

const PORT = 7443
const HOST = `127.0.0.1:${PORT}`
const REQUEST: Arrival = { authority: undefined, isSwitch: false }
const SWITCH: Arrival = { authority: undefined, isSwitch: true }

/** `Name: value` lines, after `Host` unless they hold one. */
function admitted(arrival: Arrival, ...lines: string[]): boolean {
  const hasHost = lines.some((line) => /^host:/i.test(line))
  const all = hasHost || arrival.authority !== undefined ? lines : [`Host: ${HOST}`, ...lines]
  const raw = all.flatMap((line) => {
    const [name = '', ...value] = line.split(':')
    return [name, value.join(':').trim()]
  })
  try {
    admit(readHeaderLines(raw), arrival, localHosts(PORT))
    return true
  } catch (error) {
    expect(error).toMatchObject({ status: { code: expect.any(Number) } })
    return false
  }
}

describe('the fetch of Node, which is the JavaScript client', () => {
  it('is let in with the one line of Fetch Metadata it sends', () => {
    expect(admitted(REQUEST, 'Sec-Fetch-Mode: cors')).toBe(true)
    expect(admitted({ ...REQUEST, authority: HOST }, 'sec-fetch-mode: cors')).toBe(true)
  })

  it.each([
    [['Sec-Fetch-Mode: cors', 'Sec-Fetch-Site: cross-site']],
    [['Sec-Fetch-Mode: cors', 'Sec-Fetch-Site: none']],
    [['Sec-Fetch-Dest: empty', 'Sec-Fetch-Mode: cors']],
    [['Sec-Fetch-Mode: cors', 'Sec-Fetch-User: ?1']],
    [['Sec-Fetch-Mode: cors', 'Sec-Fetch-Mode: cors']],
    [['Sec-Fetch-Mode: cors', 'Sec-Fetch-Storage-Access: none']],
    [['Sec-Fetch-Mode: cors', 'Origin: https://evil.example']],
    [['Sec-Fetch-Mode: cors', 'Access-Control-Request-Method: POST']],
    [['Sec-Fetch-Mode: no-cors']],
    [['Sec-Fetch-Mode: navigate']],
    [['Sec-Fetch-Mode: websocket']],
    [['Sec-Fetch-Mode:']],
  ])('is not what a browser can pass for: %s', (lines) => {
    expect(admitted(REQUEST, ...lines)).toBe(false)
    expect(admitted(SWITCH, ...lines)).toBe(false)
  })
})

describe('a switch of protocols that names the server it dials as its origin, as the Python client and fabric8 do', () => {
  it.each(['127.0.0.1', 'localhost', '[::1]'])('is let in at %s', (name) => {
    const host = `${name}:${PORT}`
    expect(admitted(SWITCH, `Host: ${host}`, `Origin: https://${host}`)).toBe(true)
    expect(admitted({ authority: host, isSwitch: true }, `Origin: https://${host}`)).toBe(true)
  })

  it('is one: a request that names it is a page’s', () => {
    expect(admitted(REQUEST, `Origin: https://${HOST}`)).toBe(false)
    expect(admitted(REQUEST, 'Upgrade: websocket', `Origin: https://${HOST}`)).toBe(false)
  })

  it.each([
    'null',
    '',
    'https://evil.example',
    'http://127.0.0.1:7443',
    'https://127.0.0.1',
    'https://127.0.0.1:7444',
    'https://localhost:7443',
    'https://127.0.0.1:7443.evil.example',
    'https://127.0.0.1:7443/',
    'https://evil.example@127.0.0.1:7443',
    'https://127.0.0.1:7443 https://evil.example',
  ])('is refused from any other origin: %s', (origin) => {
    expect(admitted(SWITCH, `Origin: ${origin}`)).toBe(false)
  })

  it('is refused where the host is not this proxy either, though both agree (DNS rebinding)', () => {
    const rebound = [`Host: evil.example:${PORT}`, `Origin: https://evil.example:${PORT}`]
    expect(admitted(SWITCH, ...rebound)).toBe(false)
    expect(admitted(SWITCH, ...rebound, `Host: ${HOST}`)).toBe(false)
    const both = { authority: HOST, isSwitch: true }
    expect(admitted(both, `Host: evil.example`, `Origin: https://${HOST}`)).toBe(false)
  })

  it('is refused with a second origin, and from a page of that origin', () => {
    const own = `Origin: https://${HOST}`
    expect(admitted(SWITCH, own, 'Origin: https://evil.example')).toBe(false)
    expect(admitted(SWITCH, own, 'Sec-Fetch-Site: same-origin')).toBe(false)
  })
})
