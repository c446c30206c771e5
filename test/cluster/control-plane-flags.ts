/** The flags of etcd and kube-apiserver. Both run with their state folder as working directory. */
import { join } from 'node:path'

export const SERVICE_NETWORK = { range: '10.96.0.0/16', apiServerAddress: '10.96.0.1' }

/** etcd wants a host and a port even of a socket file: this makes a file of that name. */
const ETCD_SOCKET = 'etcd:1'

/** etcd on a socket file in our folder (0700): no port to lose to somebody, and nobody else reads it. */
export function etcdFlags(directory: string): string[] {
  return [
    `--data-dir=${join(directory, 'etcd')}`,
    `--listen-client-urls=unix://${ETCD_SOCKET}`,
    `--advertise-client-urls=unix://${ETCD_SOCKET}`,
    '--listen-peer-urls=http://127.0.0.1:0',
    // Nothing here outlives its test, so nothing waits for a disk.
    '--unsafe-no-fsync=true',
    '--log-level=warn',
  ]
}

/** kube-apiserver on `host:port`, with what `writeControlPlaneFiles` has put into `directory`. */
export function apiServerFlags(directory: string, host: string, port: number): string[] {
  const file = (name: string) => join(directory, name)
  return [
    `--etcd-servers=unix://${file(ETCD_SOCKET)}`,
    `--bind-address=${host}`,
    `--secure-port=${port}`,
    `--cert-dir=${directory}`,
    `--tls-cert-file=${file('serving.crt')}`,
    `--tls-private-key-file=${file('serving.key')}`,
    `--client-ca-file=${file('ca.crt')}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${file('service-account.pub')}`,
    `--service-account-signing-key-file=${file('service-account.key')}`,
    `--service-cluster-ip-range=${SERVICE_NETWORK.range}`,
    `--audit-policy-file=${file('audit-policy.yaml')}`,
    `--audit-log-path=${file('audit.log')}`,
    '--audit-log-mode=blocking',
    '--allow-privileged=true',
    '--profiling=false',
  ]
}
