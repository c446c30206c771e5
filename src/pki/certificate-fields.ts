import type { KeyObject } from 'node:crypto'

/** What a certificate is made of, before it is one. */

export interface SubjectName {
  readonly commonName: string
  readonly organizations?: readonly string[]
}

/** What a certificate is for (RFC 5280 §4.2.1.3, .6, .9, .10, .12). */
export type CertificateRole =
  /** CA:true with path length 0 and keyCertSign, both critical. */
  | { readonly kind: 'authority' }
  /** CA:false and digitalSignature, both critical, and the one extended key usage. */
  | {
      readonly kind: 'leaf'
      readonly usage: 'clientAuth' | 'serverAuth'
      readonly names?: readonly AlternativeName[]
      /** DER; critical. */
      readonly nameConstraints?: Buffer
    }

export interface AlternativeName {
  readonly type: 'dns' | 'ip' | 'url'
  readonly value: string
}

export interface CertificateFields {
  readonly subject: SubjectName
  readonly publicKeyDer: Buffer
  /** The issuer's name (DER) and subject key identifier (hex); left out for a self-signed certificate. */
  readonly issuer?: { readonly name: Buffer; readonly keyIdentifier: string }
  readonly signingKey: KeyObject
  readonly notBefore: Date
  readonly notAfter: Date
  readonly role: CertificateRole
}
