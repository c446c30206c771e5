/**
 * The header blocks of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00 §2.6.10): pairs with their lengths, deflated as
 * one stream for each direction, with a dictionary both ends know. Every block ends at a sync flush, so it is
 * a deflate stream of its own whose dictionary is what came before it: no state but the last 32 KiB.
 */
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'

/** Names in lower case; several values of one name are separated by NUL. */
export type SpdyHeaders = Readonly<Record<string, string>>

const WINDOW_BYTES = 32 * 1024
const MAX_BLOCK_BYTES = 64 * 1024
/** CMF and FLG of RFC 1950 with FDICT, then the Adler-32 of the dictionary. */
const ZLIB_HEAD = Buffer.from('78bbe3c6a7c2', 'hex')
const HAS_DICTIONARY = 0x20

const WORDS =
  'options head post put delete trace accept accept-charset accept-encoding accept-language ' +
  'accept-ranges age allow authorization cache-control connection content-base content-encoding ' +
  'content-language content-length content-location content-md5 content-range content-type date ' +
  'etag expect expires from host if-match if-modified-since if-none-match if-range ' +
  'if-unmodified-since last-modified location max-forwards pragma proxy-authenticate ' +
  'proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade ' +
  'user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url ' +
  'public set-cookie keep-alive origin'
const TAIL =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505' +
  '203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request' +
  '401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented' +
  '503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 ' +
  'Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,' +
  'application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=' +
  'gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.'

/** The dictionary of §2.6.10.1. */
export const SPDY_DICTIONARY = Buffer.concat([
  ...WORDS.split(' ').map((word) => prefixed(Buffer.from(word.replace('_', ' ')))),
  Buffer.from(TAIL),
])

/** Packs header blocks, in the order in which they are sent. */
export class HeaderPacker {
  #window: Buffer = SPDY_DICTIONARY
  #isFirst = true

  pack(headers: SpdyHeaders): Buffer {
    const plain = plainBlock(headers)
    const finishFlush = constants.Z_SYNC_FLUSH
    const packed = deflateRawSync(plain, { dictionary: this.#window, finishFlush })
    this.#window = slide(this.#window, plain)
    if (!this.#isFirst) return packed
    this.#isFirst = false
    return Buffer.concat([ZLIB_HEAD, packed])
  }
}

/** Unpacks header blocks, in the order in which they arrive. */
export class HeaderUnpacker {
  #window: Buffer | undefined

  /** @throws Error when the block is damaged, or unpacks to more than 64 KiB */
  unpack(block: Buffer): SpdyHeaders {
    const isFirst = this.#window === undefined
    const dictionary: Buffer = this.#window ?? SPDY_DICTIONARY
    if (isFirst && !((block[1] ?? 0) & HAS_DICTIONARY)) throw new Error('no SPDY dictionary')
    const packed = isFirst ? block.subarray(ZLIB_HEAD.length) : block
    const finishFlush = constants.Z_SYNC_FLUSH
    const limit = { maxOutputLength: MAX_BLOCK_BYTES }
    const plain = inflateRawSync(packed, { dictionary, finishFlush, ...limit })
    this.#window = slide(dictionary, plain)
    return readBlock(plain)
  }
}

function slide(window: Buffer, more: Buffer): Buffer {
  return Buffer.concat([window, more]).subarray(-WINDOW_BYTES)
}

function plainBlock(headers: SpdyHeaders): Buffer {
  const pairs = Object.entries(headers)
  const parts = pairs.flat().map((text) => prefixed(Buffer.from(text)))
  return Buffer.concat([uint32(pairs.length), ...parts])
}

function readBlock(plain: Buffer): SpdyHeaders {
  const headers: Record<string, string> = Object.create(null)
  let offset = 4
  const next = () => {
    const length = plain.readUInt32BE(offset)
    if (offset + 4 + length > plain.length) throw new Error('a header runs over its block')
    const text = plain.toString('utf8', offset + 4, offset + 4 + length)
    offset += 4 + length
    return text
  }
  for (let left = plain.readUInt32BE(0); left > 0; left -= 1) {
    const name = next().toLowerCase()
    headers[name] = next()
  }
  return headers
}

function prefixed(bytes: Buffer): Buffer {
  return Buffer.concat([uint32(bytes.length), bytes])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
