/** The sandbox as people meet it: through kubectl, the newest and the oldest we support. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunningSandbox } from '../../src/sandbox/server.ts'
import { findKubernetesBinaries } from '../cluster/binaries.ts'
import { runKubectl } from '../cluster/kubectl.ts'
import { skipLoudly } from '../cluster/possibility.ts'
import { runningSandbox } from './running-sandbox.ts'

const DEPLOYMENT = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop, labels: { app: shop } }
spec:
  replicas: 2
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec:
      containers:
      - { name: shop, image: "registry.example/shop:1", ports: [{ containerPort: 80 }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: shop }
data: { colour: red }
`
const CHANGED = DEPLOYMENT.replace('shop:1', 'shop:2').replace('red', 'blue')

describe.each(['1.36.3', '1.33.13'] as const)('kubectl %s', async (version) => {
  const isHere = (await findKubernetesBinaries(version, ['kubectl'], console.warn)) !== undefined
  if (!isHere)
    skipLoudly(`kubectl ${version} with the sandbox`, {
      possible: false,
      reason: 'it is not built',
    })

  let sandbox: RunningSandbox
  let directory: string

  beforeAll(async () => {
    sandbox = await runningSandbox()
    directory = await mkdtemp(join(tmpdir(), 'mcm-test-sandbox-'))
    await writeFile(join(directory, 'kubeconfig'), sandbox.adminKubeconfig(), { mode: 0o600 })
  })

  afterAll(async () => {
    await sandbox?.stop()
    if (directory) await rm(directory, { recursive: true, force: true })
  })

  async function run(args: string, options: { input?: string; timeoutMs?: number } = {}) {
    const kubeconfig = join(directory, 'kubeconfig')
    return runKubectl(version, args.split(' '), { kubeconfig, ...options })
  }

  /** What a command that must succeed prints. */
  async function output(args: string, input?: string): Promise<string> {
    const { stdout, stderr, exitCode } = await run(args, input === undefined ? {} : { input })
    expect({ args, exitCode, stderr: exitCode === 0 ? '' : stderr }).toEqual({
      args,
      exitCode: 0,
      stderr: '',
    })
    return stdout
  }

  test.runIf(isHere)('version, cluster-info, api-versions and api-resources', async () => {
    expect(await output('version')).toContain('Server Version: v1.36.3')
    expect(await output('cluster-info')).toContain(sandbox.address.url)
    expect(await output('api-versions')).toContain('rbac.authorization.k8s.io/v1')
    expect(await output('api-resources')).toMatch(/deployments +deploy +apps\/v1 +true +Deployment/)
  })

  test.runIf(isHere)('get in every form', async () => {
    expect(await output('get pods')).toMatch(
      /^NAME +READY +STATUS +RESTARTS +AGE\nweb-\S+ +1\/1 +Running +0 +\d+s/,
    )
    expect(await output('get pods -A -o wide')).toMatch(
      /kube-system +coredns-\S+ .* 10\.244\.0\.2 +sandbox-node/,
    )
    expect(await output('get nodes -o wide')).toContain('mcm sandbox')
    expect(await output('get deploy web -o yaml')).toContain('image: registry.example/web:1.4.2')
    expect(await output('get ns -o name')).toBe(
      'namespace/default\nnamespace/kube-node-lease\nnamespace/kube-public\nnamespace/kube-system\n',
    )
    expect(await output('get all')).toContain('deployment.apps/web')
    expect(await output('get pods --chunk-size=1 -A -o name')).toContain('pod/coredns')
    expect(await output('get --raw /livez')).toBe('ok')
  })

  test.runIf(isHere)('what is not there is not found', async () => {
    expect((await run('get pod absent')).stderr).toBe(
      'Error from server (NotFound): pods "absent" not found\n',
    )
    expect((await run('get widgets')).stderr).toContain(
      'the server doesn\'t have a resource type "widgets"',
    )
    expect((await run('explain widget')).stderr).toContain('"widget"')
    expect(await output('explain pod.spec.containers.image')).toContain('FIELD: image <string>')
  })

  test.runIf(isHere)('create of many kinds', async () => {
    for (const what of [
      'ns shop',
      '-n shop configmap one --from-literal=a=1',
      '-n shop secret generic one --from-literal=a=1',
      '-n shop deployment one --image=registry.example/one',
      '-n shop serviceaccount bot',
      '-n shop service clusterip one --tcp=80',
      '-n shop role reader --verb=get,list --resource=pods',
      '-n shop rolebinding reader --role=reader --user=bob',
      '-n shop job one --image=registry.example/one',
      '-n shop poddisruptionbudget one --selector=app=one --min-available=1',
    ])
      expect(await output(`create ${what}`)).toContain('created')
    expect((await output('-n shop create token bot')).split('.')).toHaveLength(3)
    const again = await run('-n shop create configmap one')
    expect(again.stderr).toContain('configmaps "one" already exists')
  })

  test.runIf(isHere)('apply, twice, with a change, and again from the server', async () => {
    const apply = (manifest: string, flags = '') => output(`apply${flags} -f -`, manifest)
    expect(await apply(DEPLOYMENT)).toBe('deployment.apps/shop created\nconfigmap/shop created\n')
    expect(await apply(DEPLOYMENT)).toBe(
      'deployment.apps/shop unchanged\nconfigmap/shop unchanged\n',
    )
    expect(await apply(CHANGED)).toBe(
      'deployment.apps/shop configured\nconfigmap/shop configured\n',
    )
    expect(await output('get deploy shop -o jsonpath={..image}')).toBe('registry.example/shop:2')
    const applied = 'deployment.apps/shop serverside-applied\nconfigmap/shop serverside-applied\n'
    expect(await apply(CHANGED, ' --server-side')).toBe(applied)
    expect(await apply(DEPLOYMENT, ' --server-side')).toBe(applied)
    expect(await output('get cm shop -o jsonpath={.data.colour}')).toBe('red')
    const other = await run('apply --server-side --field-manager=other -f -', { input: CHANGED })
    expect(other.stderr).toContain('conflict with "kubectl": .data.colour')
    expect(await apply(CHANGED, ' --server-side --field-manager=other --force-conflicts')).toBe(
      applied,
    )
    const wrong = DEPLOYMENT.replace('replicas', 'replicass')
    expect((await run('apply -f -', { input: wrong })).stderr).toContain(
      'unknown field "spec.replicass"',
    )
    expect((await run('diff -f -', { input: DEPLOYMENT })).stdout).toContain(
      '+      - image: registry.example/shop:1',
    )
  })

  test.runIf(isHere)('patch in three ways, label, annotate, scale, set image, cordon', async () => {
    await output('create cm patched --from-literal=a=1')
    await output('patch cm patched -p {"data":{"b":"2"}}')
    await output('patch cm patched --type=merge -p {"data":{"a":null}}')
    await output('patch cm patched --type=json -p [{"op":"add","path":"/data/c","value":"3"}]')
    expect(await output('get cm patched -o jsonpath={.data}')).toBe('{"b":"2","c":"3"}')
    expect(await output('label cm patched x=y')).toBe('configmap/patched labeled\n')
    expect(await output('get cm -l x=y -o name')).toBe('configmap/patched\n')
    await output('annotate cm patched x=y')
    expect(await output('scale deploy web --replicas=3')).toBe('deployment.apps/web scaled\n')
    await output('set image deploy/web web=registry.example/web:2')
    expect(await output('get deploy web -o jsonpath={.spec.replicas}{..image}')).toBe(
      '3registry.example/web:2',
    )
    expect(await output('cordon sandbox-node')).toBe('node/sandbox-node cordoned\n')
    expect(await output('get nodes')).toContain('Ready,SchedulingDisabled')
  })

  test.runIf(isHere)('watch shows what happens', async () => {
    const watching = run('get cm watched --watch-only --request-timeout=5s -o name', {})
    const all = run('get cm -w --request-timeout=5s')
    await new Promise((resolve) => setTimeout(resolve, 1500))
    await output('create cm watched')
    await output('label cm watched x=z')
    await output('delete cm watched')
    expect((await all).stdout.match(/^watched /gm)).toHaveLength(3)
    await watching
  })

  test.runIf(isHere)('logs, and logs that go on', async () => {
    const pod = (await output('get pods -l app=web -o jsonpath={.items[0].metadata.name}')).trim()
    expect(await output(`logs ${pod}`)).toContain('GET / 200')
    expect(await output(`logs --tail=1 --timestamps ${pod}`)).toMatch(/^\S+Z GET \/favicon/)
    expect(await output('logs deploy/web --tail=1')).toContain('GET /favicon.ico 404')
    const followed = await run(`logs -f --tail=0 ${pod}`, { timeoutMs: 4000 })
    expect(followed.stdout).toMatch(/line 1 of a pod that only pretends to run\nsandbox: line 2 /)
  })

  test.runIf(isHere)('auth and impersonation', async () => {
    await output('create ns rights')
    await output('-n rights create role reader --verb=get,list --resource=pods')
    await output('-n rights create rolebinding reader --role=reader --user=bob')
    expect(await output('auth can-i create pods')).toBe('yes\n')
    expect(await output('-n rights auth can-i list pods --as bob')).toBe('yes\n')
    expect((await run('auth can-i list pods --as bob')).stdout).toBe('no\n')
    expect(await output('-n rights auth can-i --list --as bob')).toMatch(
      /pods +\[\] +\[\] +\[get list\]/,
    )
    const who = await output('auth whoami --as bob --as-group dev --as-uid 7')
    expect(who).toMatch(/Username +bob\nUID +7\nGroups +\[dev system:authenticated\]/)
    expect((await run('get pods --as bob')).stderr).toBe(
      'Error from server (Forbidden): pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default"\n',
    )
    expect(await output('-n rights get pods --as bob -o name')).toBe('')
  })

  test.runIf(isHere)('a stream is refused to whoever may only get', async () => {
    const pod = (await output('get pods -l app=web -o jsonpath={.items[0].metadata.name}')).trim()
    await output('create role looker --verb=get --resource=pods,pods/exec')
    await output('create rolebinding looker --role=looker --user=eve')
    expect((await run(`exec ${pod} --as eve -- ls`)).stderr).toContain(
      'cannot create resource "pods/exec"',
    )
  })

  test.runIf(isHere).each(['true', 'false'])('streams, WebSockets being %s', async (websockets) => {
    const env = {
      KUBECTL_REMOTE_COMMAND_WEBSOCKETS: websockets,
      KUBECTL_PORT_FORWARD_WEBSOCKETS: websockets,
    }
    const pod = (await output('get pods -l app=web -o jsonpath={.items[0].metadata.name}')).trim()
    const kubeconfig = join(directory, 'kubeconfig')
    const exec = (words: readonly string[], input?: string) =>
      runKubectl(version, ['exec', '-i', pod, '--', ...words], {
        kubeconfig,
        env,
        ...(input !== undefined && { input }),
      })
    expect(await exec(['wc', '-c'], 'x'.repeat(1_000_000))).toMatchObject({
      stdout: '1000000\n',
      exitCode: 0,
    })
    expect((await exec(['sh', '-c', 'exit 7'])).exitCode).toBe(7)
    const missing = await exec(['no-such-command'])
    expect(missing.exitCode).toBe(127)
    expect(missing.stderr).toContain('executable file not found in $PATH')
    const verb = websockets === 'true' ? 'get' : 'create'
    const audited = sandbox
      .auditEvents()
      .filter(({ requestURI }) => requestURI.includes('no-such-command'))
    expect(audited.slice(-2).map((event) => event.verb)).toEqual([verb, verb])
  })

  test.runIf(isHere)('delete, of one, of all, and of a namespace with what is in it', async () => {
    await output('create ns gone')
    await output('-n gone create cm one')
    expect(await output('delete ns gone')).toContain('namespace "gone" deleted')
    expect(await output('get cm -n gone -o name')).toBe('')
    await output('delete deploy web --cascade=foreground')
    expect(await output('delete pod --all')).toContain('deleted')
    expect(await output('get pods -o name')).toBe('')
    expect((await run('delete ns default')).stderr).toContain('this namespace may not be deleted')
  })
})
