import type { ResourceContext } from '../context.ts'
import { needsCreateForStreams } from '../kubernetes-version.ts'
import { attributesOf, forbiddenTo } from '../rbac/attributes.ts'
import { notImplemented } from '../refusals.ts'
import { requireObject } from '../verbs/read.ts'

/** exec, attach and port-forward end here: said at once, so that no client waits. */
export function refuseStreams(context: ResourceContext): never {
  const { info, user, sandbox } = context
  if (info.verb === 'get' && needsCreateForStreams(sandbox.kubernetesVersion)) {
    const attributes = { ...attributesOf(user, info), verb: 'create' }
    const { isAllowed, reason } = sandbox.authorize(attributes)
    if (!isAllowed) throw forbiddenTo(attributes, reason)
  }
  requireObject(context)
  throw notImplemented('the sandbox has no containers to run commands in')
}
