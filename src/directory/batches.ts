import type { DetailEnvelope, DirectoryAppend } from '../protocol/messages.ts'

/** What somebody lacks of a directory, in pieces that fit into one message each. */

const MAX_CHARACTERS = 1 << 20

interface Piece {
  readonly text?: string
  readonly detail: DetailEnvelope | undefined
}

/**
 * Batches of about a mebibyte: late details of statements up to `after`, then each statement with its detail. One with
 * statements ends where `mayEnd` says so of the number of its last, or is the last.
 */
export function* batches(
  missing: DirectoryAppend,
  after: number,
  mayEnd: (seq: number) => boolean = () => true,
): Generator<DirectoryAppend> {
  const details = new Map(missing.details.map((detail) => [detail.seq, detail]))
  const late = missing.details.filter(({ seq }) => seq <= after)
  const pieces: Piece[] = [
    ...late.map((detail) => ({ detail })),
    ...missing.statements.map((text, index) => ({ text, detail: details.get(after + 1 + index) })),
  ]
  let batch: Piece[] = []
  let length = 0
  for (const [index, piece] of pieces.entries()) {
    batch.push(piece)
    length += (piece.text?.length ?? 0) + (piece.detail?.text.length ?? 0)
    const seq = after + 1 + index - late.length
    if (length < MAX_CHARACTERS || !(seq <= after || mayEnd(seq))) continue
    yield appendOf(batch)
    batch = []
    length = 0
  }
  if (batch.length > 0) yield appendOf(batch)
}

function appendOf(pieces: readonly Piece[]): DirectoryAppend {
  return {
    statements: pieces.flatMap(({ text }) => (text === undefined ? [] : [text])),
    details: pieces.flatMap(({ detail }) => (detail === undefined ? [] : [detail])),
  }
}
