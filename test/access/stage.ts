import { expect } from 'vitest'
import { agentManifest, type ManifestOptions } from '../../src/access/manifest.ts'
import type { HeaderPair } from '../../src/kube/impersonation.ts'
import type { KubernetesObject } from '../../src/kube/object.ts'
import { Secret } from '../../src/secret.ts'
import type { ApiServer } from '../cluster/api-server.ts'
import { ask, collectionPath } from './api-server-client.ts'

/** A real API server with the objects of agent.yaml in it, and the tokens that an agent gets there. */

export const PREFIX = 'mcm:'

/** What agent.yaml brings, but for who is listed. */
export function manifestFor(
  options: Pick<ManifestOptions, 'owner' | 'listed'> & Partial<ManifestOptions>,
): KubernetesObject[] {
  return agentManifest({
    cluster: 'c-aaaaaaaaaa',
    hub: { endpoints: ['hub.example.org:8443'], pin: 'p'.repeat(43) },
    fleet: 'f'.repeat(43),
    joinToken: new Secret('join-token'),
    pairingSecret: new Secret('pairing-secret'),
    prefix: PREFIX,
    ...options,
  })
}

/** Creates objects as the administrator, one after the other. */
export async function install(
  server: ApiServer,
  objects: readonly KubernetesObject[],
): Promise<void> {
  for (const object of objects) {
    const created = await ask(server, server.admin, collectionPath(object), {
      method: 'POST',
      body: object,
    })
    expect(created, `${object.kind} ${object.metadata.name}`).toMatchObject({ status: 201 })
  }
}

export const TOKEN_REQUEST = {
  apiVersion: 'authentication.k8s.io/v1',
  kind: 'TokenRequest',
  spec: { expirationSeconds: 600 },
}

/** A token of a service account of the agent's namespace. */
export async function tokenOf(
  server: ApiServer,
  account: string,
  expirationSeconds = 600,
): Promise<{ token: string }> {
  const path = `/api/v1/namespaces/mcm-system/serviceaccounts/${account}/token`
  const body = { ...TOKEN_REQUEST, spec: { expirationSeconds } }
  const made = await ask(server, server.admin, path, { method: 'POST', body })
  expect(made.status).toBe(201)
  return { token: made.body.status.token }
}

/** The headers of a request as somebody else. */
export function as(user: string, ...groups: string[]): HeaderPair[] {
  return [['Impersonate-User', user], ...groups.map((g) => ['Impersonate-Group', g] as const)]
}
