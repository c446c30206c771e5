/**
 * Header lines as Go's net/http sees them: names without case, every line by itself, values as the
 * UTF-8 they were sent in. Node's merged view is never used: it joins repeated lines.
 */
export interface Headers {
  /** The first line of that name, or ''. */
  first(name: string): string
  all(name: string): readonly string[]
  /** Every line whose name starts so; names in lower case. */
  startingWith(prefix: string): readonly (readonly [name: string, value: string])[]
}

/** @param rawHeaders names and values in turn, as Node got them */
export function readHeaders(rawHeaders: readonly string[]): Headers {
  const lines: (readonly [string, string])[] = []
  for (let index = 0; index + 1 < rawHeaders.length; index += 2)
    lines.push([rawHeaders[index]!.toLowerCase(), decode(rawHeaders[index + 1]!)])
  const all = (name: string) => lines.filter(([key]) => key === name).map(([, value]) => value)
  return {
    all,
    first: (name) => all(name)[0] ?? '',
    startingWith: (prefix) => lines.filter(([key]) => key.startsWith(prefix)),
  }
}

/** Node hands over bytes as latin1. */
function decode(value: string): string {
  const isBytes = /^[\u0000-\u00ff]*$/.test(value)
  return isBytes ? Buffer.from(value, 'latin1').toString('utf8') : value
}
