import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { goClientIsPossible, goClientPath } from '../clients/go-programs.ts'
import { kubeRsIsPossible, kubeRsPath } from '../clients/kube-rs.ts'
import { skipUnlessRequired } from '../clients/required.ts'
import { apiServerIsPossible } from '../cluster/api-server.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { type ClientsStage, openClientsStage, REAL } from './clients-stage.ts'
import { type Finished, runProgram } from './program.ts'
import type { McmWay } from './ways.ts'

const noServer = skipLoudly('clients beside other proxies', await apiServerIsPossible('1.36.3'))
const skipGo =
  noServer ||
  skipUnlessRequired('client-go beside other proxies', await goClientIsPossible('client-go'))
const skipRust =
  noServer || skipUnlessRequired('kube-rs beside other proxies', await kubeRsIsPossible())

/** Nobody answers there: what goes that way fails. */
const CORPORATE = 'corporate-proxy.invalid:3128'

/** What `mcm kubeconfig --help` says of HTTPS_PROXY and NO_PROXY is said because of these. */
describe.skipIf(noServer)('where HTTPS_PROXY or NO_PROXY is set', () => {
  let clients: ClientsStage

  beforeAll(async () => {
    clients = await openClientsStage()
  })
  afterAll(() => clients?.close())

  interface Setting {
    readonly httpsProxy?: string
    readonly noProxy?: string
  }
  const environment = ({ httpsProxy, noProxy }: Setting) => ({
    HTTPS_PROXY: httpsProxy,
    https_proxy: httpsProxy,
    NO_PROXY: noProxy,
    no_proxy: noProxy,
  })
  const whoAmI = async (program: string, way: McmWay, setting: Setting): Promise<Finished> =>
    runProgram(program, ['-context', REAL, 'whoami'], {
      env: clients.ways.env(way, environment(setting)),
    })
  const behindCorporate = { httpsProxy: `http://${CORPORATE}` }
  const isAlice = { stdout: 'mcm:alice\n', exitCode: 0 }

  describe.skipIf(skipGo)('client-go', () => {
    const client = () => goClientPath('client-go')

    test.each(['exec', 'static'] as const)('goes to the hub, in %s mode', async (way) => {
      expect(await whoAmI(await client(), way, behindCorporate)).toMatchObject(isAlice)
      // A proxy-url is not asked about NO_PROXY.
      const all = { noProxy: '127.0.0.1,localhost,.clusters.mcm.internal' }
      expect(await whoAmI(await client(), way, all)).toMatchObject(isAlice)
    })

    test('never sends loopback to another proxy, so mode proxy needs nothing', async () => {
      expect(await whoAmI(await client(), 'proxy', behindCorporate)).toMatchObject(isAlice)
    })
  })

  describe.skipIf(skipRust)('kube-rs', () => {
    test.each(['exec', 'static'] as const)('goes to the hub, in %s mode', async (way) => {
      expect(await whoAmI(await kubeRsPath(), way, behindCorporate)).toMatchObject(isAlice)
      const server = { noProxy: 'localhost,.clusters.mcm.internal' }
      expect(await whoAmI(await kubeRsPath(), way, server)).toMatchObject(isAlice)
    })

    test('goes past a hub whose own host stands in NO_PROXY', async () => {
      const past = await whoAmI(await kubeRsPath(), 'static', { noProxy: '127.0.0.1' })
      expect(past).toMatchObject({ stdout: '', exitCode: 1 })
    })

    test('sends loopback to another proxy, unless NO_PROXY names that proxy itself', async () => {
      const loopback = { ...behindCorporate, noProxy: '127.0.0.1,localhost' }
      const lost = await whoAmI(await kubeRsPath(), 'proxy', loopback)
      expect(lost).toMatchObject({ stdout: '', exitCode: 1 })
      const named = { ...behindCorporate, noProxy: `127.0.0.1,localhost,${CORPORATE}` }
      expect(await whoAmI(await kubeRsPath(), 'proxy', named)).toMatchObject(isAlice)
    })

    test('started by mcm exec it needs nothing', async () => {
      const program = await kubeRsPath()
      const words = ['exec', '-c', 'idc-k8s', '--mode', 'proxy', '--', program, 'whoami']
      const ran = await clients.alice.mcm(words, { env: environment(behindCorporate) })
      expect(ran).toMatchObject(isAlice)
    })
  })
})
