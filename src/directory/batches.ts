import type { DetailEnvelope, DirectoryAppend } from '../protocol/messages.ts'

/** What somebody lacks of a directory, in pieces that fit into one message each. */

const MAX_CHARACTERS = 1 << 20
const SMALL_CHARACTERS = 1 << 16

interface Piece {
  readonly text?: string
  readonly detail: DetailEnvelope | undefined
}

export interface BatchLimits {
  /** Whether a batch with statements may end at this one; unless told it may at each. The last always may. */
  mayEnd?(seq: number): boolean
  /** Begins with 64 KiB and doubles, for whoever may not have the time for more. */
  readonly isGrowing?: boolean
}

/** Batches of about a mebibyte: late details of statements up to `after`, then each statement with its detail. */
export function* batches(
  missing: DirectoryAppend,
  after: number,
  { mayEnd = () => true, isGrowing = false }: BatchLimits = {},
): Generator<DirectoryAppend> {
  const details = new Map(missing.details.map((detail) => [detail.seq, detail]))
  const late = missing.details.filter(({ seq }) => seq <= after)
  const pieces: Piece[] = [
    ...late.map((detail) => ({ detail })),
    ...missing.statements.map((text, index) => ({ text, detail: details.get(after + 1 + index) })),
  ]
  let batch: Piece[] = []
  let length = 0
  let limit = isGrowing ? SMALL_CHARACTERS : MAX_CHARACTERS
  for (const [index, piece] of pieces.entries()) {
    batch.push(piece)
    length += (piece.text?.length ?? 0) + (piece.detail?.text.length ?? 0)
    const seq = after + 1 + index - late.length
    if (length < limit || !(seq <= after || mayEnd(seq))) continue
    yield appendOf(batch)
    batch = []
    length = 0
    limit = Math.min(limit * 2, MAX_CHARACTERS)
  }
  if (batch.length > 0) yield appendOf(batch)
}

function appendOf(pieces: readonly Piece[]): DirectoryAppend {
  return {
    statements: pieces.flatMap(({ text }) => (text === undefined ? [] : [text])),
    details: pieces.flatMap(({ detail }) => (detail === undefined ? [] : [detail])),
  }
}
