import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  clusterHost,
  enrolmentHost,
  isClusterId,
  isClusterName,
  isPrincipalName,
  newClusterId,
  parseClusterAuthority,
  pipeHost,
  requireClusterName,
  requirePrincipalName,
} from '../../src/protocol/names.ts'

describe('a user or group name', () => {
  test.each([
    'bob',
    'b',
    '7',
    'bob@example.com',
    'a.b_c+d-e',
    'Łukasz',
    'José',
    '運用',
    'अनिल',
    'ł'.repeat(126),
  ])('may be %j', (name) => {
    expect(isPrincipalName(name)).toBe(true)
    expect(requirePrincipalName(name)).toBe(name)
  })

  test.each([
    ['empty', ''],
    ['over 253 bytes', 'x'.repeat(254)],
    ['over 253 bytes of UTF-8', 'ł'.repeat(127)],
    ['not normalised', 'Jose\u0301'],
    ['of Kubernetes’ own', 'system:masters'],
    ['with a colon', 'a:b'],
    ['starting with a mark', '\u0301bob'],
    ['starting with a dot', '.bob'],
    ['starting with an at', '@bob'],
    ['with a space at the end', 'bob '],
    ['with a no-break space', 'bob\u00a0x'],
    ['with a newline at the end', 'bob\n'],
    ['with a NUL', 'bob\0'],
    ['with a carriage return', 'a\rb'],
    ['with the direction turned', 'bob\u202enimda'],
    ['with an isolate', '\u2066bob\u2069'],
    ['with a zero-width space', 'bo\u200bb'],
    ['with a zero-width joiner', 'bo\u200db'],
    ['with a soft hyphen', 'bo\u00adb'],
    ['with an invisible letter', 'bob\u3164'],
    ['with an invisible mark', 'bob\u034f'],
    ['with a variation selector', 'bob\ufe0f'],
    ['with a slash', 'a/b'],
    ['with a comma', 'a,b'],
    ['with an equals sign', 'CN=a'],
    ['with a lone surrogate', 'a\ud800'],
    ['with a percent sign', 'a%20b'],
  ])('is never %s', (_title, name) => {
    expect(isPrincipalName(name)).toBe(false)
    expect(() => requirePrincipalName(name, 'group')).toThrow(
      expect.objectContaining({ name: 'UsageError', code: 'MCM_BAD_NAME' }),
    )
  })
})

describe('a cluster', () => {
  test('has a fresh id of ten base32 characters', () => {
    const ids = Array.from({ length: 50 }, () => newClusterId((bytes) => randomBytes(bytes)))
    expect(ids.every(isClusterId)).toBe(true)
    expect(new Set(ids).size).toBe(50)
    expect(newClusterId((bytes) => new Uint8Array(bytes).fill(255))).toBe('c-7777777777')
  })

  test('is found by exactly its two authorities', () => {
    const id = 'c-abcdefgh27'
    expect(parseClusterAuthority(`${clusterHost(id)}:443`)).toEqual({ id, kind: 'session' })
    expect(parseClusterAuthority(`${enrolmentHost(id)}:443`)).toEqual({ id, kind: 'enrolment' })
    expect(parseClusterAuthority(`${pipeHost(id)}:443`)).toEqual({ id, kind: 'pipe' })
  })

  test.each([
    'c-abcdefgh27.clusters.mcm.internal',
    'c-abcdefgh27.clusters.mcm.internal:80',
    'c-abcdefgh27.clusters.mcm.internal:0443',
    'C-ABCDEFGH27.clusters.mcm.internal:443',
    'c-abcdefgh27.clusters.mcm.internal.:443',
    'c-abcdefgh2.clusters.mcm.internal:443',
    'c-abcdefgh21.clusters.mcm.internal:443',
    'x.c-abcdefgh27.clusters.mcm.internal:443',
    'enrol.enrol.c-abcdefgh27.clusters.mcm.internal:443',
    'pipe.enrol.c-abcdefgh27.clusters.mcm.internal:443',
    'pipe.clusters.mcm.internal:443',
    'c-abcdefgh27.clusters.mcm.internal.evil.com:443',
    'evil.com@c-abcdefgh27.clusters.mcm.internal:443',
    'c-abcdefgh27xclusters.mcm.internal:443',
    '10.0.0.1:443',
    '[::1]:443',
    'c-abcdefgh27.clusters.mcm.internal:443\n',
    '',
  ])('is not found by %j', (authority) => {
    expect(parseClusterAuthority(authority)).toBeUndefined()
  })

  test('is named by an RFC 1123 label', () => {
    for (const name of ['idc-k8s', 'a', '0', 'x'.repeat(63)])
      expect(requireClusterName(name)).toBe(name)
    for (const name of ['', '-a', 'a-', 'A', 'a.b', 'a_b', 'x'.repeat(64), 'a\n']) {
      expect(isClusterName(name)).toBe(false)
      expect(() => requireClusterName(name)).toThrow(
        expect.objectContaining({ code: 'MCM_BAD_NAME' }),
      )
    }
  })
})
