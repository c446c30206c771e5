import { type AccessMode, kubeconfigEntries } from '../../src/kubeconfig/model.ts'
import { Secret } from '../../src/secret.ts'
import {
  readTextIfAny,
  resolveLinks,
  withFileLock,
  writeFileAtomic,
} from '../../src/store/files.ts'

export const files = { readTextIfAny, writeFileAtomic, withFileLock, resolveLinks }

export const HUB_PEM = '-----BEGIN CERTIFICATE-----\nHUB\n-----END CERTIFICATE-----\n'
export const CA_PEM = '-----BEGIN CERTIFICATE-----\nSERVER-CA\n-----END CERTIFICATE-----'

export const execMode: AccessMode = {
  kind: 'exec',
  command: '/usr/bin/node',
  args: ['/opt/mcm/bin/run.js', 'credential', '--cluster', 'c-aaaaaaaaaa'],
  env: { MCM_HOME: '/home/a/.mcm' },
}

export const staticMode: AccessMode = {
  kind: 'static',
  certificatePem: 'CERT',
  key: new Secret('THE-KEY'),
}

export function entriesOf(name = 'idc-k8s', mode: AccessMode = execMode, id = 'c-aaaaaaaaaa') {
  return kubeconfigEntries(
    {
      name,
      clusterId: id,
      serverCaPem: CA_PEM,
      hub: { endpoint: 'hub.example.com:8443', certificatePem: HUB_PEM },
      mode,
    },
    `${id}.clusters.mcm.internal`,
  )
}

/** As kubectl writes it: sorted, lists not indented. */
export const KUBECTL_STYLE = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${'QUJD'.repeat(80)}
    server: https://10.0.0.1:6443
  name: prod
contexts:
- context:
    cluster: prod
    namespace: default
    user: admin
  name: prod
current-context: prod
kind: Config
preferences: {}
users:
- name: admin
  user:
    client-certificate-data: QUJD
    client-key-data: QUJD
`

/** As a person writes it: comments, another order, quotes, indented lists, fields nobody knows. */
export const HAND_STYLE = `# my clusters, do not touch
kind: Config
apiVersion: v1
current-context: "office"   # the usual one
users:
    # the token is rotated by hand
    - name: 'me'
      user:
          token: "0123"
          futureField: {a: 1, b: [x, y]}
contexts:
    - name: office
      context: {cluster: office, user: me}
clusters:
    - name: office
      cluster:
          server: https://office:6443 # behind the vpn
          insecure-skip-tls-verify: true
extraTopLevel:
    keep: me
`
