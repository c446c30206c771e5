/**
 * `node test/cluster/prepare.ts [version…]` makes ready what the tests run on, so that no test has to
 * wait for a build: every version, or the ones named, and as root on Linux what a whole node needs
 * from the operating system. Exits 1 when a version cannot be had.
 */
import { findKubernetesBinaries } from './binaries.ts'
import type { KubernetesVersion } from './kubernetes-version.ts'
import { BINARIES, isKubernetesVersion } from './kubernetes-version.ts'
import { wholeNodeIsPossible } from './node.ts'
import { NODE_VERSION } from './node-parts.ts'

const log = (line: string) => console.log(`[kubernetes] ${line}`)

async function prepare(version: KubernetesVersion): Promise<boolean> {
  const startedAt = Date.now()
  const found = await findKubernetesBinaries(version, BINARIES[version], log)
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1)
  log(
    found ? `${version} is ready (${found.source}, ${seconds} s)` : `${version} CANNOT BE HAD HERE`,
  )
  return found !== undefined
}

async function prepareNode(): Promise<void> {
  const node = await wholeNodeIsPossible(log)
  log(node.possible ? 'a whole node is possible here' : `no whole node here: ${node.reason}`)
}

const words = process.argv.slice(2)
const unknown = words.filter((word) => !isKubernetesVersion(word))
if (unknown.length > 0) {
  log(`unknown version ${unknown.join(', ')}; there are ${Object.keys(BINARIES).join(', ')}`)
  process.exitCode = 2
} else {
  const wanted = words.length > 0 ? words : Object.keys(BINARIES)
  for (const version of wanted.filter(isKubernetesVersion)) {
    if (!(await prepare(version))) process.exitCode = 1
  }
  if (wanted.includes(NODE_VERSION)) await prepareNode()
}
