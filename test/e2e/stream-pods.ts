/** The pods that the suites work on. */
import { SHELL_IMAGE } from '../cluster/pod-images.ts'

/**
 * Those of the stream suite, as the documents of one manifest.
 * @param image with a busybox shell, or one that does the same
 */
export function streamPods(image: string): string {
  const listen = (port: number) => `nc -ll -p ${port} -e cat &`
  const pods = [
    pod('shell', image, ['sh', '-c', 'echo it began; exec sleep 100000']),
    pod('ports', image, ['sh', '-c', `${listen(7001)} ${listen(7002)} exec sleep 100000`], {
      ports: [{ containerPort: 7001 }, { containerPort: 7002 }],
    }),
    pod('ticker', image, ['sh', '-c', 'while true; do echo tick; sleep 1; done']),
    pod('talker', image, ['sh', '-c', 'while read line; do echo "heard $line"; done'], {
      stdin: true,
    }),
  ]
  return pods.map((one) => JSON.stringify(one)).join('\n---\n')
}

/** One pod of the whole node's shell image, as JSON; what ends in it has ended. */
export function onePod(name: string, command: readonly string[], labels: object = {}): string {
  const main = { name: 'main', image: SHELL_IMAGE, imagePullPolicy: 'Never', command }
  const spec = { restartPolicy: 'Never', terminationGracePeriodSeconds: 0, containers: [main] }
  return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name, labels }, spec })
}

function pod(name: string, image: string, command: readonly string[], rest: object = {}) {
  const container = { name: 'main', image, imagePullPolicy: 'Never', command, ...rest }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: { containers: [container], terminationGracePeriodSeconds: 0 },
  }
}
