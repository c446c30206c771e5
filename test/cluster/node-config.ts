/** The configuration files of one node's programs. Measured reasons are beside the settings. */
import { join } from 'node:path'
import { SERVICE_NETWORK } from './control-plane-flags.ts'
import { PAUSE_IMAGE } from './pod-images.ts'

export interface NodeConfigOptions {
  /** The state folder; every path below is in it. */
  readonly directory: string
  readonly nodeName: string
  readonly cniBinaries: string
  readonly snapshotter: 'overlayfs' | 'native'
}

const POD_NETWORK = '10.244.0.0/16'

/** containerd, with a folder and a socket of its own. */
export function containerdConfig(options: NodeConfigOptions): string {
  const file = (name: string) => JSON.stringify(join(options.directory, name))
  return `version = 2
root = ${file('containerd')}
state = ${file('containerd-state')}
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = ${file('containerd.sock')}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE runc cannot lower the score and fails with an EOF that says nothing.
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "${options.snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${options.cniBinaries}"
    conf_dir = ${file('cni')}
`
}

/** The pods' network: a bridge, masqueraded towards us. */
export function cniConfig(options: NodeConfigOptions): string {
  const bridge = {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipMasq: true,
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      ranges: [[{ subnet: '10.244.0.0/24' }]],
      routes: [{ dst: '0.0.0.0/0' }],
      dataDir: join(options.directory, 'cni-addresses'),
    },
  }
  return JSON.stringify({ cniVersion: '0.4.0', name: 'pods', plugins: [bridge] })
}

/** The kubelet. Images are never collected: nothing could pull them again. */
export function kubeletConfig(options: NodeConfigOptions): string {
  const file = (name: string) => join(options.directory, name)
  return JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: `unix://${file('containerd.sock')}`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: file('ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: file('kubelet.crt'),
    tlsPrivateKeyFile: file('kubelet.key'),
    cgroupDriver: 'cgroupfs',
    // Kubelets sharing a machine's cgroups end each other's pods when this is on.
    cgroupsPerQOS: false,
    enforceNodeAllocatable: [],
    failCgroupV1: false,
    failSwapOn: false,
    makeIPTablesUtilChains: false,
    oomScoreAdj: 0,
    podLogsDir: file('pod-logs'),
    volumePluginDir: file('volume-plugins'),
    resolvConf: file('resolv.conf'),
    imageMaximumGCAge: '0s',
    // A rotated log is shown from its last part only.
    containerLogMaxSize: '4Gi',
    imageGCHighThresholdPercent: 100,
    evictionHard: { 'memory.available': '0%', 'nodefs.available': '0%', 'imagefs.available': '0%' },
    nodeStatusUpdateFrequency: '1s',
    syncFrequency: '5s',
    healthzPort: 0,
  })
}

/** kube-proxy, without the conntrack limits that only a real root may set. */
export function kubeProxyConfig(options: NodeConfigOptions): string {
  return JSON.stringify({
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'iptables',
    clientConnection: { kubeconfig: join(options.directory, 'kube-proxy.kubeconfig') },
    hostnameOverride: options.nodeName,
    clusterCIDR: POD_NETWORK,
    conntrack: { maxPerCore: 0, min: 0 },
    oomScoreAdj: 0,
  })
}

/** No DNS here: a lookup fails at once instead of hanging. */
export const RESOLV_CONF = 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n'

/** kube-controller-manager; certificates are not signed, for the CA's key stays with the tests. */
export function controllerManagerFlags(directory: string): string[] {
  return [
    `--kubeconfig=${join(directory, 'kube-controller-manager.kubeconfig')}`,
    `--service-account-private-key-file=${join(directory, 'service-account.key')}`,
    `--root-ca-file=${join(directory, 'ca.crt')}`,
    `--service-cluster-ip-range=${SERVICE_NETWORK.range}`,
    `--cert-dir=${directory}`,
    `--flex-volume-plugin-dir=${join(directory, 'volume-plugins')}`,
    '--use-service-account-credentials=true',
    '--leader-elect=false',
    '--bind-address=127.0.0.1',
  ]
}

/** kube-scheduler. */
export function schedulerFlags(directory: string): string[] {
  return [
    `--kubeconfig=${join(directory, 'kube-scheduler.kubeconfig')}`,
    `--cert-dir=${directory}`,
    '--leader-elect=false',
    '--bind-address=127.0.0.1',
  ]
}
