import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { startHealth } from '../../src/agent/health.ts'
import type { Running } from '../../src/world.ts'

const running: Running[] = []

afterEach(async () => {
  for (const each of running.splice(0)) await each.stop()
})

async function start(problems: () => readonly string[] = () => []): Promise<string> {
  const health = await startHealth({ host: '127.0.0.1', port: 0, problems })
  running.push(health)
  return `http://${health.address}`
}

describe('the health endpoint', () => {
  it('is alive whether the agent is ready or not', async () => {
    const url = await start(() => ['no tunnel'])
    const answer = await fetch(`${url}/healthz`)
    expect([answer.status, await answer.text()]).toEqual([200, 'ok\n'])
  })

  it('is ready when nothing is in the way, and names what is', async () => {
    let problems: string[] = ['no tunnel', 'not registered']
    const url = await start(() => problems)
    const before = await fetch(`${url}/readyz`)
    expect([before.status, await before.text()]).toEqual([503, 'no tunnel\nnot registered\n'])
    problems = []
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
  })

  it.each(['/', '/metrics', '/healthz/', '/readyz?verbose', '/.mcm/v1/whoami', '/api'])(
    'answers nothing at %s',
    async (path) => {
      expect((await fetch(`${await start()}${path}`)).status).toBe(404)
    },
  )

  it('takes no other method', async () => {
    const answer = await fetch(`${await start()}/healthz`, { method: 'POST', body: 'x' })
    expect(answer.status).toBe(405)
  })

  it('closes what does not speak HTTP, and an upgrade', async () => {
    const url = new URL(await start())
    for (const text of [
      'SSH-2.0-x\r\n\r\n',
      'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
    ]) {
      const socket = connect(Number(url.port), url.hostname)
      socket.end(text)
      let answered = ''
      for await (const chunk of socket) answered += String(chunk)
      expect(answered).not.toContain('101')
    }
    expect((await fetch(`${url.origin}/healthz`)).status).toBe(200)
  })

  it('says which port is taken', async () => {
    const { port } = new URL(await start())
    const again = startHealth({ host: '127.0.0.1', port: Number(port), problems: () => [] })
    await expect(again).rejects.toMatchObject({ code: 'MCM_PORT_TAKEN' })
  })
})
