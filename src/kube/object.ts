/** What every Kubernetes object has (apimachinery `pkg/apis/meta/v1/types.go`), as far as mcm writes it. */
export interface ObjectMeta {
  readonly name: string
  readonly namespace?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly resourceVersion?: string
  /** RFC 3339; the API server's own word. */
  readonly creationTimestamp?: string
}

/** Any object of the Kubernetes API, as plain JSON. */
export interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: ObjectMeta
}
