import { failureStatus, type Status } from '../kube/status.ts'

/** A request that is refused with an HTTP code no error family has (421, 431, …). */
export class Refusal extends Error {
  readonly status: Status
  /** The connection cannot be trusted to be in step any more. */
  readonly endsConnection: boolean

  constructor(status: Status, endsConnection = false) {
    super(status.message)
    this.name = 'Refusal'
    this.status = status
    this.endsConnection = endsConnection
  }
}

/** A request whose form is wrong: 400, and the connection ends. */
export function badRequest(why: string): Refusal {
  return new Refusal(failureStatus(400, 'BadRequest', `mcm: the request is refused: ${why}`), true)
}
