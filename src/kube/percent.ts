/**
 * Percent-decoding as Go's `url.PathUnescape`: bytes first, then UTF-8. Undefined where an escape is
 * malformed; bytes that are no UTF-8 become U+FFFD, which only matters for display.
 */
export function decodePercent(text: string): string | undefined {
  if (!text.includes('%')) return text
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined
  const bytes = Buffer.from(text, 'utf8').toString('latin1')
  const decoded = bytes.replace(/%([0-9A-Fa-f]{2})/g, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(decoded, 'latin1').toString('utf8')
}

/** Percent-encodes everything of `text` that is no RFC 9110 token character, and `%`, as UTF-8. */
export function encodeToken(text: string): string {
  const encodeByte = (byte: number) => {
    const character = String.fromCharCode(byte)
    return TOKEN_CHARACTER.test(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return Array.from(Buffer.from(text, 'utf8'), encodeByte).join('')
}

/** RFC 9110 §5.6.2 tchar, without `%`. */
const TOKEN_CHARACTER = /^[A-Za-z0-9!#$&'*+.^_`|~-]$/
