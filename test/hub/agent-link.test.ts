import { expect, test } from 'vitest'
import { Directory } from '../../src/directory/directory.ts'
import { agentLink } from '../../src/hub/agent-link.ts'
import type { HubEvents } from '../../src/hub/events.ts'
import type { DirectoryAppend, Head } from '../../src/protocol/messages.ts'
import type { HubTunnel } from '../../src/tunnel/hub-end.ts'
import { CLUSTER, Fleet } from '../directory/fleet.ts'

/** A tunnel to an agent that takes everything, and what it was sent. */
function pusherTo(known: Directory) {
  const sent: DirectoryAppend[] = []
  let directory = known
  const tunnel: Pick<HubTunnel, 'isOpen' | 'request'> = {
    isOpen: () => true,
    async request(_method, _path, body) {
      sent.push(body as DirectoryAppend)
      directory = await directory.extend(body as DirectoryAppend)
      return { status: 200, body: directory.head as Head }
    },
  }
  const refused: string[] = []
  const events: Pick<HubEvents, 'directoryPushRefused'> = {
    directoryPushRefused: (_agent, why) => void refused.push(why),
  }
  const hello = {
    version: '1',
    cluster: CLUSTER,
    replica: 'a',
    kubernetesVersion: 'v1',
    directory: known.head,
  }
  const link = agentLink(
    {
      key: 'K',
      hello,
      tunnel: tunnel as HubTunnel,
      since: new Date(0),
      address: '::1',
      cluster: CLUSTER,
    },
    events as HubEvents,
  )
  return { link, sent, refused }
}

test('an agent that knows everything already is shown once on a tunnel that the hub does, too', async () => {
  const fleet = await Fleet.found()
  await fleet.register()
  const { link, sent, refused } = pusherTo(fleet.directory)
  await link.push(fleet.directory)
  expect(sent.map(({ statements }) => statements)).toEqual([
    [fleet.directory.statements.at(-1)!.text],
  ])
  const before = fleet.directory
  await fleet.member('add', 'user', 'bob')
  await link.push(fleet.directory)
  expect(sent[1]).toEqual({
    statements: [fleet.directory.statements.at(-1)!.text],
    details: [fleet.directory.details.get(before.head!.seq + 1)],
  })
  expect(refused).toEqual([])
})

test('an agent without anything is brought all of it, once', async () => {
  const fleet = await Fleet.found()
  const { link, sent } = pusherTo(Directory.empty(fleet.directory.fleet))
  await link.push(fleet.directory)
  expect(sent.map(({ statements }) => statements.length)).toEqual([1])
})

test('an agent on another directory is sent nothing', async () => {
  const [fleet, other] = [await Fleet.found(), await Fleet.found()]
  const { link, sent, refused } = pusherTo(other.directory)
  await link.push(fleet.directory)
  expect(sent).toEqual([])
  expect(refused).toEqual([expect.stringContaining('another statement 0')])
})
