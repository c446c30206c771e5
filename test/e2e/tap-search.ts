/** Looks through everything a process has: its memory, its files, what went through it. Linux, as root. */
import { type FileHandle, open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Needle, secretPart } from './tap-needles.ts'

/** Called with overlapping pieces of a place, one after the other. */
export type Piecewise = (look: (piece: Buffer) => void) => Promise<void>

const PIECE_BYTES = 16 << 20
/** Longer than anything that is looked for. */
const OVERLAP_BYTES = 8 << 10

/** The readable memory of a process. */
export function memoryOf(pid: number): Piecewise {
  return async (look) => {
    const maps = await readFile(`/proc/${pid}/maps`, 'utf8')
    const memory = await open(`/proc/${pid}/mem`)
    try {
      for (const line of maps.split('\n')) {
        const match = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line)
        // Shared libraries and the program itself hold no data of ours, the kernel's pages cannot be read.
        if (!match || /\[v(var|vvar|syscall|dso)|\.so|\/node$/.test(line)) continue
        await readRegion(memory, Number(`0x${match[1]}`), Number(`0x${match[2]}`), look)
      }
    } finally {
      await memory.close()
    }
  }
}

/** Every file of a folder, whatever it is for. */
export function filesOf(directory: string): Piecewise {
  return async (look) => {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true })
    for (const entry of entries.filter((each) => each.isFile()))
      await fileOf(join(entry.parentPath, entry.name))(look)
  }
}

export function fileOf(path: string): Piecewise {
  return async (look) => {
    const file = await open(path)
    try {
      await readRegion(file, 0, (await file.stat()).size, look)
    } finally {
      await file.close()
    }
  }
}

export function textOf(text: string): Piecewise {
  return async (look) => look(Buffer.from(text))
}

async function readRegion(
  file: FileHandle,
  start: number,
  end: number,
  look: (piece: Buffer) => void,
): Promise<void> {
  for (let at = start; at < end; at += PIECE_BYTES) {
    const length = Math.min(PIECE_BYTES + OVERLAP_BYTES, end - at)
    const piece = Buffer.alloc(length)
    // A region may be gone by now; one that cannot be read holds nothing for anybody else either.
    const read = await file.read(piece, 0, length, at).catch(() => undefined)
    if (read) look(piece.subarray(0, read.bytesRead))
  }
}

/** The names of the needles that a place holds, in their order. */
export async function findNeedles(
  place: Piecewise,
  needles: readonly Needle[],
): Promise<readonly string[]> {
  const index = new NeedleIndex(needles)
  const found = new Set<string>()
  await place((piece) => index.look(piece, found))
  return needles.map(({ name }) => name).filter((name) => found.has(name))
}

/** All needles in one pass: a bitmap over three bytes passes over nearly everything. */
class NeedleIndex {
  readonly #mayBegin = new Uint8Array(1 << 24)
  readonly #byStart = new Map<number, { name: string; form: Buffer }[]>()

  constructor(needles: readonly Needle[]) {
    for (const { name, forms } of needles) for (const form of forms) this.#add(name, form)
  }

  look(piece: Buffer, found: Set<string>): void {
    const last = piece.length - 3
    let start = piece.length < 2 ? 0 : (piece[0]! << 8) | piece[1]!
    for (let at = 0; at <= last; at++) {
      start = ((start << 8) | piece[at + 2]!) & 0xffffff
      if (this.#mayBegin[start] === 0) continue
      for (const { name, form } of this.#byStart.get(start) ?? [])
        if (piece.compare(form, 0, form.length, at, Math.min(at + form.length, piece.length)) === 0)
          found.add(name)
    }
  }

  #add(name: string, form: Buffer): void {
    if (form.length < 12) throw new Error(`${name} is too short to be looked for`)
    const start = form.readUIntBE(0, 3)
    this.#mayBegin[start] = 1
    this.#byStart.set(start, [...(this.#byStart.get(start) ?? []), { name, form }])
  }
}

const PEM = /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----((?:\s|\\n|[A-Za-z0-9+/=]){60,})/g
const JWK = /"d":"([A-Za-z0-9_-]{43})"/g
const JWT = /eyJ[\w-]{8,}\.(eyJ[\w-]{8,})\.[\w-]{20,}/g
/** ECPrivateKey (RFC 5915) for P-256 up to the key, and after it. */
const SEC1 = Buffer.from('0201010420', 'hex')
const SEC1_AFTER = [
  Buffer.from('a00a06082a8648ce3d030107', 'hex'),
  Buffer.from('a144034200', 'hex'),
]
/** Ed25519 in PKCS #8 (RFC 8410) up to the seed. */
const ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')
/** Half the order of P-256, a constant that may lie behind the constant above: no key of anybody. */
const HALF_ORDER = Buffer.from(
  '7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8',
  'hex',
)

/**
 * Private keys and service account tokens of any kind, whoever's they are, except the private key `own`. Found
 * things are described, not shown.
 */
export async function findCredentials(
  place: Piecewise,
  ownPem: string,
): Promise<readonly string[]> {
  const own = secretPart(ownPem)
  const found = new Set<string>()
  await place((piece) => {
    for (const key of keysIn(piece))
      if (!key.equals(own)) found.add(`a private key of ${key.length} bytes`)
    for (const [, payload] of piece.toString('latin1').matchAll(JWT)) {
      const claims = Buffer.from(payload!, 'base64url').toString()
      if (/serviceaccount|kubernetes/.test(claims)) found.add('a service account token')
    }
  })
  return [...found]
}

function keysIn(piece: Buffer): Buffer[] {
  const text = piece.toString('latin1')
  const pems = [...text.matchAll(PEM)].map(([, body]) => {
    return Buffer.from(body!.replace(/\\n|\s/g, ''), 'base64')
  })
  const jwks = [...text.matchAll(JWK)].map(([, d]) => Buffer.from(d!, 'base64url'))
  const inside = [piece, ...pems].flatMap(derKeysIn)
  // A PEM of another kind of key is a key as well.
  const foreign = pems.filter((der) => der.length > 30 && derKeysIn(der).length === 0)
  return [...inside, ...jwks, ...foreign]
}

function derKeysIn(bytes: Buffer): Buffer[] {
  const sec1 = positions(bytes, SEC1)
    .map((at) => at + SEC1.length)
    .filter((at) =>
      SEC1_AFTER.some((after) => after.equals(bytes.subarray(at + 32, at + 32 + after.length))),
    )
  const ed25519 = positions(bytes, ED25519).map((at) => at + ED25519.length)
  const keys = [...sec1, ...ed25519].map((at) => Buffer.from(bytes.subarray(at, at + 32)))
  return keys.filter((key) => !key.equals(HALF_ORDER))
}

function positions(bytes: Buffer, what: Buffer): number[] {
  const found: number[] = []
  for (let at = bytes.indexOf(what); at >= 0; at = bytes.indexOf(what, at + 1)) found.push(at)
  return found
}
