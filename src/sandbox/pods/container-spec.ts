/** What a container's part of a pod's spec says that can be done here. */
import { isJsonObject, type Json, listAt, textAt, textsAt } from '../json.ts'
import type { ContainerSpec } from './container.ts'

export function containerSpec(container: Json): ContainerSpec {
  const isTrue = (key: string) => isJsonObject(container) && container[key] === true
  const env = listAt(container, 'env').map(
    (one) => [textAt(one, 'name'), textAt(one, 'value')] as const,
  )
  return {
    name: textAt(container, 'name'),
    command: [...textsAt(container, 'command'), ...textsAt(container, 'args')],
    env,
    directory: textAt(container, 'workingDir') || '/',
    hasStdin: isTrue('stdin'),
    isStdinOnce: isTrue('stdinOnce'),
    hasTerminal: isTrue('tty'),
  }
}
