// The library resolves its parts by decorators and needs this polyfill before it.
import 'reflect-metadata'
import { createPublicKey, type KeyObject } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { OID } from './certificate.ts'
import type { CertificateFields, SubjectName } from './certificate-fields.ts'
import { publicKeyDerOf, signingCryptoKey, subjectKeyIdentifier } from './key-pair.ts'

/** The only file that meets the certificate library: fields in, signed DER out. */

const ECDSA_SHA256 = { name: 'ECDSA', hash: 'SHA-256' }

/** Signs a certificate with this serial number (hex). */
export async function signCertificate(fields: CertificateFields, serial: string): Promise<Buffer> {
  const subject = nameOf(fields.subject)
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial,
    subject,
    issuer: fields.issuer ? new Name(fields.issuer.name) : subject,
    notBefore: fields.notBefore,
    notAfter: fields.notAfter,
    publicKey: fields.publicKeyDer,
    signingKey: signingCryptoKey(fields.signingKey),
    signingAlgorithm: ECDSA_SHA256,
    extensions: [...roleExtensions(fields), ...keyIdentifiers(fields)],
  })
  return Buffer.from(certificate.rawData)
}

/** Signs a PKCS #10 request (RFC 2986) for this key. */
export async function signRequest(privateKey: KeyObject, subject: SubjectName): Promise<Buffer> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const publicKey = createPublicKey(privateKey).toCryptoKey(algorithm, true, ['verify'])
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: nameOf(subject),
    keys: { privateKey: signingCryptoKey(privateKey), publicKey },
    signingAlgorithm: ECDSA_SHA256,
  })
  return Buffer.from(request.rawData)
}

function roleExtensions({ role }: CertificateFields): Extension[] {
  if (role.kind === 'authority')
    return [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
    ]
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([OID[role.usage]]),
  ]
  if (role.names) extensions.push(new SubjectAlternativeNameExtension([...role.names]))
  if (role.nameConstraints)
    extensions.push(new Extension(OID.nameConstraints, true, role.nameConstraints))
  return extensions
}

function keyIdentifiers(fields: CertificateFields): Extension[] {
  const own = subjectKeyIdentifier(fields.publicKeyDer)
  const issuer =
    fields.issuer?.keyIdentifier ?? subjectKeyIdentifier(publicKeyDerOf(fields.signingKey))
  return [new SubjectKeyIdentifierExtension(own), new AuthorityKeyIdentifierExtension(issuer)]
}

/** A string type is named, so the library never guesses one or reads `#` as hex. */
function nameOf({ commonName, organizations = [] }: SubjectName): Name {
  return new Name([
    { CN: [{ utf8String: commonName }] },
    ...organizations.map((organization) => ({ O: [{ utf8String: organization }] })),
  ])
}
