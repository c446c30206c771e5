import { UnreachableError } from '../errors.ts'
import { RESET } from './pipe-end.ts'

/** Why a pipe ended, as a sentence; `hint` is what was heard last. Never proved. */
export function resetError(peerName: string, code: number, hint = ''): UnreachableError {
  const reason = REASONS[code] ?? REASONS[RESET.aborted]
  const detail = hint === '' ? '' : ` (${hint})`
  const message = `the session with ${peerName} has ended: ${reason}${detail}`
  return new UnreachableError('MCM_AGENT_UNREACHABLE', message, { hint: 'try again' })
}

const REASONS: Readonly<Record<number, string>> = {
  [RESET.aborted]: 'the other end broke it off',
  [RESET.suspendedTooLong]: 'it was interrupted for more than two minutes',
  [RESET.notAllowed]: 'its certificate or grant no longer stands',
  [RESET.agentEnds]: 'the agent was stopped',
  [RESET.tooMuchWaits]: 'too much waited for a reader that stood still',
}
