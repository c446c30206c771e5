import { expect, it } from 'vitest'
import {
  type ControlFrameOfSocket,
  closeFrame,
  FrameTracker,
  pongFrame,
} from '../../src/forward/websocket-frames.ts'
import { socketFrame } from './socket-frame.ts'

const KEY = Buffer.from([1, 2, 3, 4])
const FRAMES = [
  socketFrame(2, Buffer.alloc(0)),
  socketFrame(2, Buffer.alloc(125, 1), KEY),
  socketFrame(9, Buffer.from('are you there'), KEY),
  socketFrame(2, Buffer.alloc(126, 2)),
  socketFrame(2, Buffer.alloc(70_000, 3), KEY),
  socketFrame(9, Buffer.alloc(0)),
  socketFrame(1, Buffer.from('text')),
]

it.each([1, 2, 3, 7, 13, 1_000, 100_000])(
  'finds frames and control payloads in pieces of %i bytes',
  (size) => {
    const all = Buffer.concat(FRAMES)
    const ends = new Set<number>()
    FRAMES.reduce((sum, frame) => {
      ends.add(sum + frame.length)
      return sum + frame.length
    }, 0)
    const wrong: number[] = []
    const controls: ControlFrameOfSocket[] = []
    const tracker = new FrameTracker((frame) => controls.push(frame))
    for (let at = 0; at < all.length; at += size) {
      const piece = all.subarray(at, at + size)
      const whole = tracker.push(piece)
      const last = [...ends].filter((end) => end > at && end <= at + piece.length).at(-1)
      if (whole !== (last === undefined ? 0 : last - at)) wrong.push(at)
      if (tracker.isAtBoundary !== ends.has(at + piece.length)) wrong.push(at)
    }
    expect(wrong).toEqual([])
    expect(controls).toEqual([
      { opcode: 9, payload: Buffer.from('are you there') },
      { opcode: 9, payload: Buffer.alloc(0) },
    ])
  },
)

it('says how much of a frame is missing', () => {
  const tracker = new FrameTracker()
  const frame = socketFrame(2, Buffer.alloc(100_000))
  tracker.push(frame.subarray(0, 1))
  expect(tracker.missingBytes).toBe(1)
  tracker.push(frame.subarray(1, 50_010))
  expect(tracker.missingBytes).toBe(50_000)
  tracker.push(frame.subarray(50_010))
  expect(tracker.missingBytes).toBe(0)
})

it('makes frames that a client understands', () => {
  expect(pongFrame(Buffer.from('x'))).toEqual(socketFrame(0xa, Buffer.from('x')))
  const long = 'é'.repeat(100)
  const controls: ControlFrameOfSocket[] = []
  new FrameTracker((frame) => controls.push(frame)).push(closeFrame(long))
  const [{ opcode, payload } = { opcode: 0, payload: Buffer.alloc(0) }] = controls
  expect(opcode).toBe(8)
  expect(payload.readUInt16BE()).toBe(1011)
  expect(payload.subarray(2).toString()).toBe('é'.repeat(61))
})
