import { createInflate } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { HeaderPacker, HeaderUnpacker, SPDY_DICTIONARY } from '../../src/forward/spdy-headers.ts'

describe('header blocks of SPDY', () => {
  test('the dictionary is the one of the draft: its length and its Adler-32', () => {
    expect(SPDY_DICTIONARY.length).toBe(1423)
    let [low, high] = [1, 0]
    for (const byte of SPDY_DICTIONARY) {
      low = (low + byte) % 65_521
      high = (high + low) % 65_521
    }
    expect(((high << 16) | low) >>> 0).toBe(0xe3c6a7c2)
  })

  test('what is packed is unpacked again, block after block', () => {
    const [packer, unpacker] = [new HeaderPacker(), new HeaderUnpacker()]
    for (let index = 0; index < 500; index += 1) {
      const headers = { streamtype: 'data', port: '80', requestid: String(index) }
      expect({ ...unpacker.unpack(packer.pack(headers)) }).toEqual(headers)
    }
  })

  test('the blocks are one zlib stream with the dictionary, as any other SPDY reads it', async () => {
    const packer = new HeaderPacker()
    const blocks = ['error', 'data', 'error'].map((type) => packer.pack({ streamtype: type }))
    const inflate = createInflate({ dictionary: SPDY_DICTIONARY })
    const plain: Buffer[] = []
    inflate.on('data', (chunk: Buffer) => plain.push(chunk))
    for (const block of blocks) await new Promise((resolve) => inflate.write(block, resolve))
    const text = Buffer.concat(plain).toString('latin1')
    expect(text.match(/streamtype....(error|data)/gs)).toHaveLength(3)
  })

  test('windows of more than 32 KiB of headers stay in step', () => {
    const [packer, unpacker] = [new HeaderPacker(), new HeaderUnpacker()]
    for (let index = 0; index < 20; index += 1) {
      const headers = { big: String(index).repeat(3_000), again: 'x'.repeat(index) }
      expect({ ...unpacker.unpack(packer.pack(headers)) }).toEqual(headers)
    }
  })

  test('damage and bombs are refused', () => {
    const bomb = new HeaderPacker().pack({ bomb: 'x'.repeat(1_000_000) })
    expect(() => new HeaderUnpacker().unpack(bomb)).toThrow()
    expect(() => new HeaderUnpacker().unpack(Buffer.alloc(40, 0xff))).toThrow()
    expect(() => new HeaderUnpacker().unpack(Buffer.alloc(0))).toThrow()
  })

  test('names that mean something to JavaScript are names', () => {
    const packed = new HeaderPacker().pack(JSON.parse('{"__proto__":"x","constructor":"y"}'))
    const headers = new HeaderUnpacker().unpack(packed)
    expect(Object.keys(headers)).toEqual(['__proto__', 'constructor'])
    expect(({} as Record<string, unknown>)['x']).toBeUndefined()
  })
})
