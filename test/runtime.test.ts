import { expect, test } from 'vitest'
import { homeAt, homeDirectoryOf, keychainService } from '../src/device/home.ts'
import { requireSafeRuntime } from '../src/runtime.ts'

test('settings that switch checks off are refused by name', () => {
  const refused = (env: Record<string, string>, execArgv: string[] = []) => {
    try {
      requireSafeRuntime(env, execArgv)
      return undefined
    } catch (error) {
      return error
    }
  }
  expect(refused({ NODE_TLS_REJECT_UNAUTHORIZED: '0' })).toMatchObject({
    code: 'MCM_UNSUPPORTED_RUNTIME',
    exitCode: 2,
  })
  expect(
    String(refused({ NODE_OPTIONS: '--max-old-space-size=1 --insecure-http-parser' })),
  ).toContain('--insecure-http-parser')
  expect(refused({}, ['--insecure-http-parser'])).toBeDefined()
  expect(refused({ NODE_TLS_REJECT_UNAUTHORIZED: '1', NODE_OPTIONS: '' })).toBeUndefined()
})

test('the home is MCM_HOME, else below XDG_CONFIG_HOME, else below ~/.config', () => {
  expect(homeDirectoryOf({ MCM_HOME: '/m', XDG_CONFIG_HOME: '/x' }, '/u')).toBe('/m')
  expect(homeDirectoryOf({ XDG_CONFIG_HOME: '/x' }, '/u')).toBe('/x/mcm')
  expect(homeDirectoryOf({ MCM_HOME: '' }, '/u')).toBe('/u/.config/mcm')
})

test('two homes never share a drawer of the keychain', () => {
  expect(keychainService(homeAt('/a'))).not.toBe(keychainService(homeAt('/b')))
})
