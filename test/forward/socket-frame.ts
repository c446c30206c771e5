/** A frame as RFC 6455 §5.2 has it. */
export function socketFrame(opcode: number, payload: Buffer, key?: Buffer): Buffer {
  const { length } = payload
  const mask = key ? 0x80 : 0
  const extended = Buffer.alloc(length < 126 ? 0 : length < 65_536 ? 2 : 8)
  if (extended.length === 2) extended.writeUInt16BE(length)
  if (extended.length === 8) extended.writeBigUInt64BE(BigInt(length))
  const short = extended.length === 0 ? length : extended.length === 2 ? 126 : 127
  const masked = key ? payload.map((byte, index) => byte ^ key[index & 3]!) : payload
  const head = Buffer.from([0x80 | opcode, mask | short])
  return Buffer.concat([head, extended, key ?? Buffer.alloc(0), masked])
}
