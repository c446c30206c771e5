import { startApiServer } from '../cluster/api-server.ts'
import type { KubernetesVersion } from '../cluster/kubernetes-version.ts'
import { kubectlSuite } from './kubectl-suite.ts'

for (const version of ['1.36.3', '1.33.13'] as const satisfies readonly KubernetesVersion[]) {
  kubectlSuite({
    title: `kubectl ${version} reaches a real kube-apiserver ${version} through two layers of mTLS`,
    start: () => startApiServer({ version }),
    kubectl: version,
  })
}
