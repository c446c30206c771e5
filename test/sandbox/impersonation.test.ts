import { describe, expect, test } from 'vitest'
import { as, grant, messageOf, NS, stage } from './stage.ts'

const REVIEW = '/apis/authentication.k8s.io/v1/selfsubjectreviews'
const account = (name: string) => ({ kind: 'ServiceAccount', name, namespace: 'default' })
const impersonate = (resources: string[], resourceNames?: string[], apiGroup = '') => ({
  apiGroups: [apiGroup],
  resources,
  verbs: ['impersonate'],
  ...(resourceNames && { resourceNames }),
})

describe.each(['v1.36.3', 'v1.33.13'])('impersonation in %s', (kubernetesVersion) => {
  const on = stage({ kubernetesVersion })

  async function run(token: string, headers: [string, string][]) {
    const answer = await on.ask({ method: 'POST', path: REVIEW, body: {}, token, headers })
    const { status } = answer.json as { status?: { userInfo?: object } }
    return { code: answer.status, message: messageOf(answer), user: status?.userInfo }
  }

  async function impersonator(): Promise<string> {
    const token = await on.tokenOf('imp')
    await grant(
      on,
      'imp',
      [
        impersonate(['users'], ['mcm:bob']),
        impersonate(['groups'], ['mcm:dev']),
        impersonate(['userextras/mcm.dev/session'], undefined, 'authentication.k8s.io'),
      ],
      account('imp'),
    )
    return token
  }

  test('without the right nobody acts as anybody', async () => {
    const token = await on.tokenOf('nobody')
    const { code, message } = await run(token, as('mcm:bob'))
    expect(code).toBe(403)
    expect(message).toContain('User "system:serviceaccount:default:nobody" cannot impersonate')
  })

  test('resourceNames hold for users, groups and extra keys', async () => {
    const token = await impersonator()
    expect((await run(token, as('mcm:bob', 'mcm:dev'))).user).toEqual({
      username: 'mcm:bob',
      groups: ['mcm:dev', 'system:authenticated'],
    })
    for (const headers of [
      as('mcm:eve'),
      as('system:admin'),
      as('mcm:bob', 'mcm:ops'),
      as('mcm:bob', 'mcm:dev', 'system:masters'),
      as('mcm:bob', 'mcm:dev,system:masters'),
      [...as('mcm:bob'), ['Impersonate-Uid', '7'] as [string, string]],
      [...as('mcm:bob'), ['Impersonate-Extra-Other', 'x'] as [string, string]],
      as('system:serviceaccount:kube-system:default'),
      as('system:node:sandbox-node'),
      as('system:anonymous'),
    ])
      expect((await run(token, headers)).code).toBe(403)
  })

  test('an extra key is lower-cased and then percent-decoded', async () => {
    const token = await impersonator()
    const { user } = await run(token, [
      ...as('mcm:bob'),
      ['IMPERSONATE-EXTRA-MCM.DEV%2FSESSION', 'S'] as [string, string],
    ])
    expect(user).toMatchObject({ extra: { 'mcm.dev/session': ['S'] } })
  })

  test('no user, or an empty one, runs as the sender: it fails open, as the real one does', async () => {
    const token = await impersonator()
    const self = { username: 'system:serviceaccount:default:imp' }
    expect((await run(token, [])).user).toMatchObject(self)
    expect((await run(token, as(''))).user).toMatchObject(self)
  })

  test('a group, a uid or an extra without a user is a bad request', async () => {
    const token = await impersonator()
    const alone: [string, string][] = [
      ['Impersonate-Group', 'mcm:dev'],
      ['Impersonate-Uid', '7'],
      ['Impersonate-Extra-a', 'b'],
    ]
    for (const header of alone) {
      const { code, message } = await run(token, [header])
      expect(code).toBe(400)
      expect(message).toMatch(/^requested .* without impersonating a user/)
      expect((await run(token, [['Impersonate-User', ''], header])).code).toBe(400)
    }
  })

  test('of two users the first counts', async () => {
    const token = await impersonator()
    expect((await run(token, [...as('mcm:bob'), ...as('system:admin')])).user).toMatchObject({
      username: 'mcm:bob',
    })
    expect((await run(token, [...as('system:admin'), ...as('mcm:bob')])).code).toBe(403)
  })

  test('a thousand headers hide nothing', async () => {
    const token = await impersonator()
    const noise = Array.from({ length: 900 }, (_, i): [string, string] => [`x${i}`, ''])
    const { code } = await run(token, [
      ...as('mcm:bob'),
      ...noise,
      ['Impersonate-Group', 'system:masters'],
    ])
    expect(code).toBe(403)
  })

  test('a name in UTF-8 arrives as it was sent', async () => {
    const wire = Buffer.from('Łukasz').toString('latin1')
    const { user } = await run(on.sandbox.adminToken.reveal(), as(wire))
    expect(user).toMatchObject({ username: 'Łukasz' })
  })

  test('the rights are those of whom one acts as, and no more', async () => {
    const admin = on.sandbox.adminToken.reveal()
    const { status } = await on.ask({ path: `${NS}/pods`, token: admin, headers: as('mcm:bob') })
    expect(status).toBe(403)
    const audit = on.sandbox.auditEvents().at(-1)!
    expect(audit.user.username).toBe('sandbox-admin')
    expect(audit.impersonatedUser).toEqual({
      username: 'mcm:bob',
      groups: ['system:authenticated'],
    })
  })

  test('a service account brings its groups, unless groups are named', async () => {
    const admin = on.sandbox.adminToken.reveal()
    const sa = 'system:serviceaccount:team:bot'
    const fixed = ['system:serviceaccounts', 'system:serviceaccounts:team', 'system:authenticated']
    expect((await run(admin, as(sa))).user).toMatchObject({ groups: fixed })
    expect((await run(admin, as(sa, 'x'))).user).toMatchObject({
      groups: ['x', 'system:authenticated'],
    })
    await on.get('/version', as('system:anonymous'))
    expect(on.sandbox.auditEvents().at(-1)?.impersonatedUser).toEqual({
      username: 'system:anonymous',
      groups: ['system:unauthenticated'],
    })
  })
})

describe('constrained impersonation', () => {
  const on = stage()
  const constrained = (resources: string[], verbs: string[], resourceNames?: string[]) => ({
    apiGroups: ['authentication.k8s.io'],
    resources,
    verbs,
    ...(resourceNames && { resourceNames }),
  })

  async function impersonator(): Promise<string> {
    const token = await on.tokenOf('constrained')
    await grant(
      on,
      'constrained',
      [
        constrained(['users'], ['impersonate:user-info'], ['mcm:bob']),
        constrained(['groups'], ['impersonate:user-info']),
        { apiGroups: [''], resources: ['pods'], verbs: ['impersonate-on:user-info:list'] },
      ],
      account('constrained'),
    )
    await grant(on, 'reader', [{ apiGroups: [''], resources: ['*'], verbs: ['*'] }], {
      kind: 'User',
      name: 'mcm:bob',
      apiGroup: 'rbac.authorization.k8s.io',
    })
    return token
  }

  test('the verb and resource acted on are a ceiling over what the user may do', async () => {
    const token = await impersonator()
    const get = (path: string) => on.ask({ path, token, headers: as('mcm:bob') })
    expect((await get(`${NS}/pods`)).status).toBe(200)
    const refused = await get(`${NS}/secrets`)
    expect(refused.status).toBe(403)
    expect(messageOf(refused)).toContain('cannot')
    const [audit] = on.sandbox.auditEvents().filter((one) => one.authenticationMetadata)
    expect(audit?.authenticationMetadata).toEqual({
      impersonationConstraint: 'impersonate:user-info',
    })
  })

  test('system:masters and an empty group are never given, whatever the role says', async () => {
    const token = await impersonator()
    for (const group of ['system:masters', '']) {
      const headers = as('mcm:bob', group)
      expect((await on.ask({ path: `${NS}/pods`, token, headers })).status).toBe(403)
    }
  })

  test('nodes and service accounts are not user-info', async () => {
    const token = await on.tokenOf('wide')
    await grant(
      on,
      'wide',
      [
        constrained(['*'], ['impersonate:user-info']),
        { apiGroups: ['*'], resources: ['*'], verbs: ['impersonate-on:user-info:list'] },
      ],
      account('wide'),
    )
    for (const user of ['system:node:n', 'system:serviceaccount:kube-system:default'])
      expect((await on.ask({ path: `${NS}/pods`, token, headers: as(user) })).status).toBe(403)
  })
})
