import { kubectlSuite } from './kubectl-suite.ts'
import { startSandboxCluster } from './sandbox-cluster.ts'

kubectlSuite({
  title:
    'kubectl 1.36.3 reaches the sandbox through two layers of mTLS, as it does a real API server',
  start: startSandboxCluster,
  kubectl: '1.36.3',
})
