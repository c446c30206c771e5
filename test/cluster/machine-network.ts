/** The veth pair that joins a machine's network to ours, and the names made for a machine. */
import { randomInt } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { basename } from 'node:path'
import type { CommandResult } from './run-command.ts'
import { runCommand } from './run-command.ts'

/** State folders of machines are named so; the rest of the name tells machines apart. */
export const MACHINE_PREFIX = 'mcm-test-node-'
const LINK_PREFIX = 'mcmt-'

export interface AddressPair {
  /** Ours. */
  readonly hostAddress: string
  /** The machine's. */
  readonly address: string
}

/** The network device that leads to the machine of a folder. */
export function linkOf(directory: string): string {
  return `${LINK_PREFIX}${basename(directory).slice(MACHINE_PREFIX.length)}`
}

/**
 * Makes the pair and gives both ends an address; the machine's traffic goes out over it.
 * @throws Error with the words of `ip`
 */
export async function joinNetworks(
  link: string,
  initPid: number,
  runInside: typeof runCommand,
): Promise<AddressPair> {
  const { hostAddress, address } = freeAddressPair()
  const here = (words: string) => mustSucceed(runCommand('ip', words.split(' ')), words)
  const inside = (words: string) => mustSucceed(runInside('ip', words.split(' ')), words)
  await here(`link add ${link} type veth peer name eth0 netns ${initPid}`)
  await here(`address add ${hostAddress}/30 dev ${link}`)
  await here(`link set ${link} up`)
  await inside(`address add ${address}/30 dev eth0`)
  await inside('link set eth0 up')
  await inside(`route add default via ${hostAddress}`)
  return { hostAddress, address }
}

/** 198.18.0.0/15 is set aside for test networks (RFC 2544), so nothing real is hidden by it. */
function freeAddressPair(): AddressPair {
  const taken = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  for (;;) {
    const prefix = `198.${18 + randomInt(2)}.${randomInt(256)}`
    const network = randomInt(64) * 4
    const hostAddress = `${prefix}.${network + 1}`
    if (taken.some(({ address }) => address === hostAddress)) continue
    return { hostAddress, address: `${prefix}.${network + 2}` }
  }
}

async function mustSucceed(result: Promise<CommandResult>, what: string): Promise<void> {
  const { exitCode, stderr } = await result
  if (exitCode !== 0) throw new Error(`ip ${what}: ${stderr.trim()}`)
}
