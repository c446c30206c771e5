/** What kubectl 1.36 sends: its typed clients write protobuf, as base64 here. */
export const KUBECTL_BODIES: readonly {
  readonly command: string
  readonly path: string
  readonly body: string
}[] = [
  {
    command: 'auth can-i get pods/log -n x',
    path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    body: 'azhzAAoyChdhdXRob3JpemF0aW9uLms4cy5pby92MRIXU2VsZlN1YmplY3RBY2Nlc3NSZXZpZXcSOQoQCgASABoAIgAqADIAOABCABIbChkKAXgSA2dldBoAIgAqBHBvZHMyADoDbG9nGggIABIAGgAgABoAIgA=',
  },
  {
    command: 'auth whoami',
    path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    body: 'azhzAAotChhhdXRoZW50aWNhdGlvbi5rOHMuaW8vdjESEVNlbGZTdWJqZWN0UmV2aWV3EhoKEAoAEgAaACIAKgAyADgAQgASBgoECgASABoAIgA=',
  },
  {
    command: 'create token default --duration 1h --bound-object-kind Pod',
    path: '/api/v1/namespaces/default/serviceaccounts/default/token',
    body: 'azhzAAooChhhdXRoZW50aWNhdGlvbi5rOHMuaW8vdjESDFRva2VuUmVxdWVzdBI/ChAKABIAGgAiACoAMgA4AEIAEiUaIAoDUG9kEgJ2MRoTd2ViLTdkOWY4YjZjNS0yeGtxcCIAIJAcGgQKABIAGgAiAA==',
  },
  {
    command: 'create deployment d --image nginx --replicas 3 --port 80',
    path: '/apis/apps/v1/namespaces/default/deployments?fieldManager=kubectl-create&fieldValidation=Strict',
    body: 'azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErABChsKAWQSABoAIgAqADIAOABCAFoICgNhcHASAWQSggEIAxIKCggKA2FwcBIBZBpqChoKABIAGgAiACoAMgA4AEIAWggKA2FwcBIBZBJMEi4KBW5naW54EgVuZ2lueCoAMgoKABAAGFAiACoAQgBqAHIAgAEAiAEAkAEAogEAGgAyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA',
  },
  {
    command: 'create secret generic s --from-literal a=b',
    path: '/api/v1/namespaces/default/secrets?fieldManager=kubectl-create&fieldValidation=Strict',
    body: 'azhzAAoMCgJ2MRIGU2VjcmV0Eh0KEQoBcxIAGgAiACoAMgA4AEIAEgYKAWESAWIaABoAIgA=',
  },
  {
    command: 'create configmap c --from-literal a=b --from-literal c=d',
    path: '/api/v1/namespaces/default/configmaps?fieldManager=kubectl-create&fieldValidation=Strict',
    body: 'azhzAAoPCgJ2MRIJQ29uZmlnTWFwEiMKEQoBYxIAGgAiACoAMgA4AEIAEgYKAWESAWISBgoBYxIBZBoAIgA=',
  },
  {
    command: 'create clusterrole r --verb=get,list --resource=pods --resource-name=x',
    path: '/apis/rbac.authorization.k8s.io/v1/clusterroles?fieldManager=kubectl-create&fieldValidation=Strict',
    body: 'azhzAAorChxyYmFjLmF1dGhvcml6YXRpb24uazhzLmlvL3YxEgtDbHVzdGVyUm9sZRIrChEKAXISABoAIgAqADIAOABCABIWCgNnZXQKBGxpc3QSABoEcG9kcyIBeBoAIgA=',
  },
  {
    command: 'create clusterrole r2 --verb=get --non-resource-url=/x',
    path: '/apis/rbac.authorization.k8s.io/v1/clusterroles?fieldManager=kubectl-create&fieldValidation=Strict',
    body: 'azhzAAorChxyYmFjLmF1dGhvcml6YXRpb24uazhzLmlvL3YxEgtDbHVzdGVyUm9sZRIfChIKAnIyEgAaACIAKgAyADgAQgASCQoDZ2V0KgIveBoAIgA=',
  },
  {
    command: 'create rolebinding r --clusterrole=view --user=bob --serviceaccount=a:b',
    path: '/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings?fieldManager=kubectl-create&fieldValidation=Strict',
    body: 'azhzAAorChxyYmFjLmF1dGhvcml6YXRpb24uazhzLmlvL3YxEgtSb2xlQmluZGluZxKHAQoRCgFyEgAaACIAKgAyADgAQgASKAoEVXNlchIZcmJhYy5hdXRob3JpemF0aW9uLms4cy5pbxoDYm9iIgASGAoOU2VydmljZUFjY291bnQSABoBYiIBYRouChlyYmFjLmF1dGhvcml6YXRpb24uazhzLmlvEgtDbHVzdGVyUm9sZRoEdmlldxoAIgA=',
  },
  {
    command: 'create poddisruptionbudget p --max-unavailable=50%',
    path: '/apis/policy/v1/namespaces/default/poddisruptionbudgets?fieldManager=kubectl-create&fieldValidation=Strict',
    body: 'azhzAAogCglwb2xpY3kvdjESE1BvZERpc3J1cHRpb25CdWRnZXQSNgoRCgFwEgAaACIAKgAyADgAQgASFRIICgYKAWESAWIaCQgBEAAaAzUwJRoKCAAYACAAKAAwABoAIgA=',
  },
  {
    command: 'create poddisruptionbudget p2 --min-available=2',
    path: '/apis/policy/v1/namespaces/default/poddisruptionbudgets?fieldManager=kubectl-create&fieldValidation=Strict',
    body: 'azhzAAogCglwb2xpY3kvdjESE1BvZERpc3J1cHRpb25CdWRnZXQSNAoSCgJwMhIAGgAiACoAMgA4AEIAEhIKBggAEAIaABIICgYKAWESAWIaCggAGAAgACgAMAAaACIA',
  },
  {
    command: 'create job j --image=x -- date',
    path: '/apis/batch/v1/namespaces/default/jobs?fieldManager=kubectl-create&fieldValidation=Strict',
    body: 'azhzAAoPCghiYXRjaC92MRIDSm9iEngKEQoBahIAGgAiACoAMgA4AEIAElkyVwoQCgASABoAIgAqADIAOABCABJDEiAKAWoSAXgaBGRhdGUqAEIAagByAIABAIgBAJABAKIBABoFTmV2ZXIyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBABoIIAAoADAAOgAaACIA',
  },
  {
    command: 'create service nodeport s --tcp=80:8080',
    path: '/api/v1/namespaces/default/services?fieldManager=kubectl-create&fieldValidation=Strict',
    body: 'azhzAAoNCgJ2MRIHU2VydmljZRJiChsKAXMSABoAIgAqADIAOABCAFoICgNhcHASAXMSPwobCgc4MC04MDgwEgNUQ1AYUCIHCAAQkD8aACgAEggKA2FwcBIBcxoAIghOb2RlUG9ydDoAQgBSAFoAYABoABoCCgAaACIA',
  },
]
