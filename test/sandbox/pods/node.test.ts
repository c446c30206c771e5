import { describe, expect, test } from 'vitest'
import { NS, stage } from '../stage.ts'

const on = stage()
const idle = stage({ runsPods: false })

interface Pod {
  readonly spec: { readonly nodeName?: string }
  readonly status: {
    readonly phase: string
    readonly podIP?: string
    readonly containerStatuses?: readonly {
      readonly ready: boolean
      readonly restartCount: number
      readonly state: Record<string, { exitCode?: number; reason?: string }>
    }[]
  }
}

function spec(script: string, restartPolicy: string): object {
  return {
    containers: [{ name: 'main', image: 'x', command: ['sh', '-c', script] }],
    restartPolicy,
  }
}

async function create(name: string, of: object): Promise<void> {
  await on.post(`${NS}/pods`, { metadata: { name }, spec: of })
}

const pod = async (name: string) => (await on.get(`${NS}/pods/${name}`)).json as Pod
const phase = async (name: string) => (await pod(name)).status.phase

describe('the node of the sandbox', () => {
  test('takes a new pod and says that it runs', async () => {
    await create('one', spec('sleep 1000', 'Always'))
    await expect.poll(() => phase('one')).toBe('Running')
    const { spec: placed, status } = await pod('one')
    expect(placed.nodeName).toBe('sandbox-node')
    expect(status.podIP).toMatch(/^10\.244\./)
    expect(status.containerStatuses).toMatchObject([{ ready: true, restartCount: 0 }])
  })

  test('says how a pod ended that is not to be restarted', async () => {
    await create('good', spec('echo done', 'Never'))
    await create('bad', spec('exit 5', 'Never'))
    await expect.poll(() => phase('good')).toBe('Succeeded')
    await expect.poll(() => phase('bad')).toBe('Failed')
    const [status] = (await pod('bad')).status.containerStatuses!
    expect(status!.state).toMatchObject({ terminated: { exitCode: 5, reason: 'Error' } })
    expect((await on.get(`${NS}/pods/good/log`)).text).toBe('done\n')
  })

  test('waits before it starts a container again', async () => {
    await create('loop', spec('exit 1', 'Always'))
    await expect
      .poll(async () => (await pod('loop')).status.containerStatuses?.[0]?.state)
      .toEqual({ waiting: { reason: 'CrashLoopBackOff' } })
    expect(await phase('loop')).toBe('Running')
  })

  test('keeps what a container said, and follows it to its end', async () => {
    await create('talker', spec('echo one; echo two >&2; printf three', 'Never'))
    await expect.poll(() => phase('talker')).toBe('Succeeded')
    expect((await on.get(`${NS}/pods/talker/log`)).text).toBe('one\ntwo\nthree')
    await create('slow', spec('echo begin; sleep 0.2; echo end', 'Never'))
    await expect.poll(() => phase('slow')).not.toBe('Pending')
    expect((await on.get(`${NS}/pods/slow/log?follow=true`)).text).toBe('begin\nend\n')
  })

  test('gives a container its environment and its directory', async () => {
    const main = {
      name: 'main',
      image: 'x',
      workingDir: '/etc',
      env: [{ name: 'COLOUR', value: 'blue' }],
      command: ['sh', '-c'],
      args: ['echo $COLOUR in $PWD; pwd'],
    }
    await create('env', { containers: [main], restartPolicy: 'Never' })
    await expect.poll(() => phase('env')).toBe('Succeeded')
    expect((await on.get(`${NS}/pods/env/log`)).text).toBe('blue in\n/etc\n')
  })

  test('ends a pod that is deleted, and whoever follows its log', async () => {
    await create('gone', spec('while true; do echo tick; sleep 0.05; done', 'Always'))
    await expect.poll(() => phase('gone')).toBe('Running')
    const following = on.get(`${NS}/pods/gone/log?follow=true`)
    await expect.poll(async () => (await on.get(`${NS}/pods/gone/log`)).text).toContain('tick')
    await on.ask({ method: 'DELETE', path: `${NS}/pods/gone` })
    expect((await following).text).toContain('tick\n')
  })

  test('leaves pods of other nodes alone', async () => {
    await create('elsewhere', { ...spec('true', 'Never'), nodeName: 'other' })
    await create('here', spec('sleep 100', 'Never'))
    await expect.poll(() => phase('here')).toBe('Running')
    expect(await phase('elsewhere')).toBe('Pending')
  })
})

test('without running pods a pod waits for ever, and has no log', async () => {
  await idle.post(`${NS}/pods`, { metadata: { name: 'p' }, spec: spec('true', 'Never') })
  expect((await idle.get(`${NS}/pods/p`)).json).toMatchObject({ status: { phase: 'Pending' } })
  expect((await idle.get(`${NS}/pods/p/log`)).status).toBe(204)
})
