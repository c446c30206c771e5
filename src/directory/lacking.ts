import type { Directory } from './directory.ts'

/**
 * Which details somebody was not shown (PROTOCOL §3.6). Every statement has its bit: whoever says what they lack
 * chooses nothing, so that nobody who may sign statements can push another one out of it.
 */

/**
 * The base64url of a bitmap, in which bit `seq & 7` of byte `seq >> 3` stands for a statement whose detail is not here; bytes
 * of zeros at its end are left out, so it is empty where nothing is lacking. 1.7 KB for 10 000 statements.
 */
export function lackingDetails({
  statements,
  details,
}: Pick<Directory, 'statements' | 'details'>): string {
  const bits = Buffer.alloc(Math.ceil(statements.length / 8))
  let length = 0
  for (const { seq } of statements) {
    if (details.has(seq)) continue
    bits[seq >> 3]! |= 1 << (seq & 7)
    length = (seq >> 3) + 1
  }
  return bits.subarray(0, length).toString('base64url')
}

/** Whether a statement of a number is one of them. What is no base64url is read as far as it goes. */
export function readLacking(text: string): (seq: number) => boolean {
  const bits = Buffer.from(text, 'base64url')
  return (seq) => ((bits[seq >> 3] ?? 0) & (1 << (seq & 7))) !== 0
}
