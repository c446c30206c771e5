import { CEILING_NAME, type Ceiling, readCeiling } from '../access/ceiling.ts'
import {
  formOf,
  IMPERSONATOR_NAME,
  type ImpersonationForm,
  type ImpersonatorNames,
  readImpersonator,
} from '../access/impersonator.ts'
import type { KubernetesApi } from '../client/kubernetes.ts'
import { NotFoundError } from '../errors.ts'
import type { KubernetesObject } from '../kube/object.ts'
import { type ClusterRole, RBAC_VERSION } from '../kube/rbac.ts'

/** Putting the agent's objects into a cluster over a direct connection, as the owner. */

/** Plural names of the kinds the manifest has; a new kind there fails here, loudly. */
const PLURALS: Readonly<Record<string, string>> = {
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
  Deployment: 'deployments',
  Namespace: 'namespaces',
  NetworkPolicy: 'networkpolicies',
  PodDisruptionBudget: 'poddisruptionbudgets',
  Role: 'roles',
  RoleBinding: 'rolebindings',
  Secret: 'secrets',
  Service: 'services',
  ServiceAccount: 'serviceaccounts',
  ValidatingAdmissionPolicy: 'validatingadmissionpolicies',
  ValidatingAdmissionPolicyBinding: 'validatingadmissionpolicybindings',
}

/** The path of an object in the Kubernetes API. */
export function objectPath({ apiVersion, kind, metadata }: KubernetesObject): string {
  const plural = PLURALS[kind]
  if (plural === undefined) throw new Error(`the manifest holds a ${kind}, whose path is unknown`)
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const namespace = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`
  return `${root}${namespace}/${plural}/${encodeURIComponent(metadata.name)}`
}

/** Server-side apply, in order: namespaces and accounts before what needs them. @throws as KubernetesApi */
export async function applyManifest(
  kubernetes: KubernetesApi,
  objects: readonly KubernetesObject[],
): Promise<void> {
  for (const object of objects) {
    await kubernetes.apply(objectPath(object), object, { fieldManager: 'mcm', force: true })
  }
}

/** What a cluster has that the manifest must take along. */
export interface ClusterFacts {
  /** Names the impersonator lists already: nobody loses access when a cluster is registered again. */
  readonly listed: ImpersonatorNames
  /** In which form. */
  readonly form: ImpersonationForm
  /** The one that was set already. */
  readonly ceiling?: Ceiling
  /** API groups of custom resources, for `mcm:admin` and the ceiling. */
  readonly customGroups: readonly string[]
}

export async function readClusterFacts(kubernetes: KubernetesApi): Promise<ClusterFacts> {
  const path = `/apis/${RBAC_VERSION}/clusterroles`
  const [found, ceiling, definitions] = await Promise.all([
    kubernetes.getIfAny<ClusterRole>(`${path}/${IMPERSONATOR_NAME}`),
    kubernetes.getIfAny<ClusterRole>(`${path}/${CEILING_NAME}`),
    listIfServed<CustomResource>(kubernetes, CUSTOM_RESOURCES_PATH),
  ])
  const role = found ?? { rules: [] }
  const { users, groups } = readImpersonator(role)
  const customGroups = [...new Set(definitions.map(({ spec }) => spec.group))].sort()
  return {
    listed: { users, groups },
    form: formOf(role),
    ...(ceiling ? { ceiling: readCeiling(ceiling) } : {}),
    customGroups,
  }
}

const CUSTOM_RESOURCES_PATH = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

/** Not every API server has custom resources. */
async function listIfServed<T>(kubernetes: KubernetesApi, path: string): Promise<readonly T[]> {
  try {
    return (await kubernetes.list<T>(path)).items
  } catch (error) {
    if (error instanceof NotFoundError) return []
    throw error
  }
}

interface CustomResource extends KubernetesObject {
  readonly spec: { readonly group: string }
}
