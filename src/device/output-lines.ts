/** The output of a program as lines, while it comes. */

/** A line this long is given in parts: a program that never ends its line must not fill the memory. */
const MAX_LINE_LENGTH = 1 << 20

/** Lines without their ends; the last one also when it has none. A carriage return before the end belongs to the end. */
export async function* linesOf(output: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of output) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop()!
    for (const line of lines) yield line.replace(/\r$/, '')
    if (rest.length > MAX_LINE_LENGTH) {
      yield rest
      rest = ''
    }
  }
  rest += decoder.decode()
  if (rest !== '') yield rest
}

/** All of an output as text. @throws OutputTooLong beyond `maxBytes` */
export async function textOf(output: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of output) {
    length += chunk.length
    if (length > maxBytes) throw new OutputTooLong()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

export class OutputTooLong extends Error {}
