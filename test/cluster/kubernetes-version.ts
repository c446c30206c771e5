/**
 * The Kubernetes versions that the tests run on, the programs each has, and the Go packages that
 * build them. `go/v<version>/tools.go` pins the same packages.
 */

/** Versions of which there is an API server here. */
export type ServerVersion = '1.36.3' | '1.33.13'

/** Versions of which there is a kubectl here. */
export type KubernetesVersion = ServerVersion | '1.34.4' | '1.32.2'

export type KubernetesBinary =
  | 'etcd'
  | 'kube-apiserver'
  | 'kubectl'
  | 'kubelet'
  | 'kube-proxy'
  | 'kube-controller-manager'
  | 'kube-scheduler'

/** What an API server needs, and the kubectl to talk to it. */
export const CONTROL_PLANE: readonly KubernetesBinary[] = ['etcd', 'kube-apiserver', 'kubectl']

const WHOLE_NODE: readonly KubernetesBinary[] = [
  ...CONTROL_PLANE,
  'kubelet',
  'kube-proxy',
  'kube-controller-manager',
  'kube-scheduler',
]

/** Every program a version has here. Only the newest can be a whole node. */
export const BINARIES: Readonly<Record<KubernetesVersion, readonly KubernetesBinary[]>> = {
  '1.36.3': WHOLE_NODE,
  '1.33.13': CONTROL_PLANE,
  '1.34.4': ['kubectl'],
  '1.32.2': ['kubectl'],
}

export interface GoPackage {
  /** The folder under `go/` whose go.mod builds it. */
  readonly module: KubernetesVersion
  readonly importPath: string
}

/** Where a program of a version is built from. One etcd serves every version. */
export function goPackageOf(version: KubernetesVersion, name: KubernetesBinary): GoPackage {
  if (name === 'etcd') return { module: '1.36.3', importPath: 'go.etcd.io/etcd/server/v3' }
  return { module: version, importPath: `k8s.io/kubernetes/cmd/${name}` }
}

/** Whether a word names one of the versions. */
export function isKubernetesVersion(word: string): word is KubernetesVersion {
  return Object.hasOwn(BINARIES, word)
}
