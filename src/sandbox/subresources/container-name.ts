import { type KubeObject, listAt, textAt } from '../json.ts'
import { badRequest } from '../refusals.ts'

/**
 * The container a request is about: the only one when it names none (kubernetes `pkg/registry/core/pod/strategy.go`
 * validateContainer). @throws Refusal 400
 */
export function requireContainer(pod: KubeObject, asked: string): string {
  const names = listAt(pod, 'spec', 'containers').map((one) => textAt(one, 'name'))
  const podName = pod.metadata.name ?? ''
  if (asked === '' && names.length > 1)
    throw badRequest(
      `a container name must be specified for pod ${podName}, choose one of: [${names.join(' ')}]`,
    )
  if (asked !== '' && !names.includes(asked))
    throw badRequest(`container ${asked} is not valid for pod ${podName}`)
  return asked || (names[0] ?? '')
}
