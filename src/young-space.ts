import { setFlagsFromString } from 'node:v8'

/**
 * For programs that carry bytes. Call it before anything large is loaded; it is for the whole process.
 *
 * Every piece of a stream is a small object that holds 16 to 64 KiB outside V8's heap. In a young space that grows to
 * 16 MiB hundreds of megabytes of those wait for a collection, and V8, which counts them as growth of the heap, marks
 * all of it several times a second: pauses of 5 to 100 ms in every stream, and half of the processor. So the young
 * space stays at its first size (1 MiB), where pieces are collected within a millisecond; and the heap may always
 * grow to four times what lives in it, V8's own upper bound, before it is marked (docs/decisions/0009).
 */
export function collectBuffersYoung(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
  setFlagsFromString('--heap-growing-percent=300')
}
