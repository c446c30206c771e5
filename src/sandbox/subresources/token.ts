import type { ResourceContext } from '../context.ts'
import { issueToken } from '../identity/service-account-tokens.ts'
import type { JsonObject, KubeObject } from '../json.ts'
import { updatedBy } from '../patch/field-managers.ts'
import { methodNotAllowed } from '../refusals.ts'
import { answerObject } from '../show/answer.ts'
import { decodeBody } from '../verbs/decode-body.ts'
import { writeOptions } from '../verbs/options.ts'

const KIND = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' }

/** kubernetes `pkg/apis/authentication/v1/defaults.go`. */
function withDefaultLifetime(request: KubeObject): KubeObject {
  const spec = { expirationSeconds: 3600, ...(request.spec as JsonObject) }
  return { ...request, spec }
}

/** POST …/serviceaccounts/NAME/token. */
export async function answerToken(context: ResourceContext): Promise<number> {
  const { info, exchange, sandbox } = context
  if (info.verb !== 'create') throw methodNotAllowed()
  const options = writeOptions(exchange, 'CreateOptions')
  const request = await decodeBody(context, KIND, options.fieldValidation)
  const by = {
    resource: { ...context.resource, ...KIND },
    manager: options.fieldManager,
    subresource: 'token',
    world: sandbox.world,
  }
  const owned = updatedBy(by, undefined, withDefaultLifetime(request))
  answerObject(context, 201, issueToken(sandbox, info.namespace, info.name, owned))
  return 201
}
