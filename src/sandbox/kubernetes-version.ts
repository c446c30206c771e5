/** What differs between the Kubernetes versions the sandbox can be. */

export interface KubernetesVersion {
  readonly major: number
  readonly minor: number
  readonly text: string
}

/** `v1.36.3` → its numbers; anything else is taken for 1.36. */
export function readVersion(text: string): KubernetesVersion {
  const [, major = '1', minor = '36'] = /^v?(\d+)\.(\d+)/.exec(text) ?? []
  return { major: Number(major), minor: Number(minor), text }
}

/** KEP-5284, on by default since 1.36 (kubernetes `pkg/features/kube_features.go`). */
export function hasConstrainedImpersonation(text: string): boolean {
  const { major, minor } = readVersion(text)
  return major > 1 || minor >= 36
}

/** A WebSocket begins with GET, and still needs `create` (AuthorizePodWebsocketUpgradeCreatePermission, 1.35). */
export function needsCreateForStreams(text: string): boolean {
  const { major, minor } = readVersion(text)
  return major > 1 || minor >= 35
}
