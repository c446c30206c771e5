import type { Status } from '../kube/status.ts'
import type { SwitchedProtocol } from './switched-protocol.ts'
import {
  binaryFrame,
  CLOSE,
  CLOSE_CODE,
  type ControlFrameOfSocket,
  closeFrame,
  FrameTracker,
  isPing,
  pongTo,
} from './websocket-frames.ts'

/** Of exec and attach, with a Status at the end (k8s.io/kubelet `pkg/cri/streaming/remotecommand/websocket.go`). */
const CHANNELS = /^v[45]\.channel\.k8s\.io$/
const ERROR_CHANNEL = 3

/** A WebSocket ends in good order after a close frame of either side (RFC 6455 §7.1.5: otherwise it is code 1006). */
export class SwitchedWebSocket implements SwitchedProtocol {
  readonly #subprotocol: string | undefined
  #isOver = false
  readonly #note = ({ opcode }: ControlFrameOfSocket): void => {
    if (opcode === CLOSE) this.#isOver = true
  }
  readonly given = new FrameTracker(this.#note)
  readonly heard = new FrameTracker(this.#note)
  readonly isPing = isPing
  readonly pongTo = pongTo

  constructor(subprotocol: string | undefined) {
    this.#subprotocol = subprotocol
  }

  get isBetweenFrames(): boolean {
    return this.given.isBetweenMessages
  }

  brokenBy(first: 'client' | 'upstream'): 'client' | 'upstream' | undefined {
    return this.#isOver ? undefined : first
  }

  /**
   * A close frame, behind a Status where exec or attach expect one: client-go reads that only where the
   * connection then ends as after any command.
   */
  farewell(status: Status): Buffer {
    const { message } = status
    if (!CHANNELS.test(this.#subprotocol ?? ''))
      return closeFrame(message, CLOSE_CODE.policyViolation)
    const said = Buffer.concat([Buffer.from([ERROR_CHANNEL]), Buffer.from(JSON.stringify(status))])
    return Buffer.concat([binaryFrame(said), closeFrame('', CLOSE_CODE.normal)])
  }
}
