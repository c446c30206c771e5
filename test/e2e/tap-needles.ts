/** What must not be found, in every form in which it could be lying about. */
import { createPrivateKey } from 'node:crypto'

/** One secret thing, and how to name it when it is found: never by its value. */
export interface Needle {
  readonly name: string
  readonly forms: readonly Buffer[]
}

/** A text as UTF-8, as a two-byte string of V8, and in base64 wherever it may begin there. */
export function textNeedle(name: string, text: string): Needle {
  const bytes = Buffer.from(text)
  return { name, forms: [...asText(text), ...inBase64(bytes)] }
}

/** Bytes as they are, in hex and in base64. */
export function bytesNeedle(name: string, bytes: Buffer): Needle {
  return { name, forms: [bytes, ...asText(bytes.toString('hex')), ...inBase64(bytes)] }
}

/** A private key by its secret part alone: PEM, DER, JWK and every other form hold it. */
export function keyNeedle(name: string, pem: string): Needle {
  return bytesNeedle(name, secretPart(pem))
}

/** The private scalar or seed, 32 bytes. */
export function secretPart(pem: string): Buffer {
  const { d } = createPrivateKey(pem).export({ format: 'jwk' })
  return Buffer.from(d!, 'base64url')
}

function asText(text: string): Buffer[] {
  return [Buffer.from(text), Buffer.from(text, 'utf16le')]
}

/** Base64 turns three bytes into four characters, so bytes look three ways, by where they begin. */
function inBase64(bytes: Buffer): Buffer[] {
  const forms = [0, 1, 2].flatMap((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64')
    const first = Math.ceil((before * 8) / 6)
    const end = Math.floor(((before + bytes.length) * 8) / 6)
    const clean = text.slice(first, end)
    return [clean, clean.replaceAll('+', '-').replaceAll('/', '_')]
  })
  return [...new Set(forms)].flatMap(asText)
}
