/**
 * What the API server does to an object of a kind beyond storing it: defaults, the parts nobody may
 * set, and the mistakes it refuses (kubernetes `pkg/registry/GROUP/RESOURCE/strategy.go`, `pkg/apis/…/defaults.go`,
 * `…/validation/validation.go`, and the admission plugins that are always on).
 */
import type { KubeObject } from '../json.ts'
import type { Storage } from '../objects/storage.ts'
import type { Cause } from '../refusals.ts'

export interface KindRules {
  /** Fills in what was left open; also on every update, so it must be stable. */
  withDefaults?(object: KubeObject): KubeObject
  /** What is set at birth only: status, addresses. Metadata is complete by then. */
  atCreation?(object: KubeObject, storage: Storage): KubeObject
  /** What an update of the object itself (not of its status) cannot change is taken from the old one. */
  atUpdate?(object: KubeObject, old: KubeObject, storage: Storage): KubeObject
  problems?(object: KubeObject): readonly Cause[]
  updateProblems?(object: KubeObject, old: KubeObject): readonly Cause[]
  /** PUT and server-side apply of something absent create it… PUT only where this says so. */
  readonly isCreatedByUpdate?: boolean
  /** An update must name the resourceVersion it is based on. */
  readonly isUpdateConditional?: boolean
  /** DELETE answers the object instead of a Status. */
  readonly isReturnedWhenDeleted?: boolean
}
