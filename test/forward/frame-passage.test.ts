import { expect, it } from 'vitest'
import { FramePassage } from '../../src/forward/frame-passage.ts'
import {
  controlFrame,
  dataHead,
  FRAME,
  FrameTracker,
  isPing,
} from '../../src/forward/spdy-frames.ts'
import * as webSocket from '../../src/forward/websocket-frames.ts'
import { socketFrame } from './socket-frame.ts'

const KEY = Buffer.from([1, 2, 3, 4])
const PING = socketFrame(9, Buffer.from('are you there'), KEY)
const DATA = [
  socketFrame(2, Buffer.alloc(0), KEY),
  socketFrame(2, Buffer.alloc(126, 0x89), KEY),
  socketFrame(2, Buffer.alloc(70_000, 3), KEY),
  socketFrame(0xa, Buffer.from('a pong is no ping'), KEY),
]

function passage(takesOut = false) {
  const [passed, taken]: [Buffer[], Buffer[]] = [[], []]
  const frames = new FramePassage(
    new webSocket.FrameTracker(),
    (piece) => passed.push(Buffer.from(piece)),
    { is: webSocket.isPing, take: (frame) => takesOut && taken.push(frame) > 0 },
  )
  return { frames, passed, taken, bytes: () => Buffer.concat(passed) }
}

function inPieces(all: Buffer, size: number, act: (piece: Buffer) => void): void {
  for (let at = 0; at < all.length; at += size) act(all.subarray(at, at + size))
}

it('passes a piece on as it is, whatever frames it holds', () => {
  const { frames, passed } = passage()
  const all = Buffer.concat([...DATA, PING])
  frames.pass(all)
  expect(passed).toEqual([all])
})

it('takes whole frames out, wherever they stand in a piece', () => {
  const [a, b, c, d] = DATA as [Buffer, Buffer, Buffer, Buffer]
  const { frames, taken, bytes } = passage(true)
  frames.pass(Buffer.concat([PING, a, b, PING, PING, c]))
  frames.pass(PING)
  frames.pass(Buffer.concat([d, PING]))
  expect(bytes()).toEqual(Buffer.concat(DATA))
  expect(taken).toEqual([PING, PING, PING, PING, PING])
})

it.each([1, 2, 3, 7, 1_000])('takes them out of pieces of %i bytes', (size) => {
  const { frames, taken, bytes } = passage(true)
  const all = Buffer.concat(DATA.flatMap((frame) => [PING, frame]))
  inPieces(all, size, (piece) => frames.pass(piece))
  expect(bytes()).toEqual(Buffer.concat(DATA))
  expect(taken).toEqual(DATA.map(() => PING))
})

it('lets everything else pass in its time, and what had only begun in the end', () => {
  const { frames, bytes } = passage(true)
  const tooLong = Buffer.from([0x89, 0xfe, 0, 126])
  frames.pass(tooLong.subarray(0, 1))
  expect(bytes().length).toBe(0)
  frames.pass(tooLong.subarray(1))
  expect(bytes()).toEqual(tooLong)
  const { frames: broken, bytes: passed } = passage(true)
  broken.pass(PING.subarray(0, 7))
  expect(passed().length).toBe(0)
  broken.end()
  broken.end()
  expect(passed()).toEqual(PING.subarray(0, 7))
})

it('takes a PING of SPDY that comes field by field', () => {
  const [passed, taken]: [Buffer[], Buffer[]] = [[], []]
  const frames = new FramePassage(new FrameTracker(), (piece) => passed.push(Buffer.from(piece)), {
    is: isPing,
    take: (frame) => taken.push(frame) > 0,
  })
  const ping = controlFrame(FRAME.PING, 0, [7])
  const opening = controlFrame(FRAME.SYN_STREAM, 0, [1, 0], Buffer.alloc(30))
  for (const frame of [opening, ping, opening])
    for (const [from, to] of [
      [0, 2],
      [2, 4],
      [4, 8],
      [8, frame.length],
    ] as const)
      frames.pass(frame.subarray(from, to))
  expect(Buffer.concat(passed)).toEqual(Buffer.concat([opening, opening]))
  expect(taken).toEqual([ping])
  // The other side's own, answered: taken for a ping it would go back and forth for ever.
  const answer = controlFrame(FRAME.PING, 0, [2])
  frames.pass(answer.subarray(0, 8))
  frames.pass(answer.subarray(8))
  expect(passed.slice(-1)).toEqual([answer])
  expect(taken).toEqual([ping])
})

it.each([1, 2, 3, 7, 1_000, 69_999, 100_000])(
  'puts ours between two frames, in pieces of %i bytes',
  (size) => {
    const { frames, bytes } = passage()
    const ours = webSocket.pongFrame(Buffer.from('here'))
    let turn = 0
    inPieces(Buffer.concat([...DATA, PING]), size, (piece) => {
      if (turn++ % 5 === 0) frames.put(ours)
      frames.pass(piece)
    })
    const controls: webSocket.ControlFrameOfSocket[] = []
    const reader = new webSocket.FrameTracker((frame) => controls.push(frame))
    reader.push(bytes())
    expect(reader.isAtBoundary).toBe(true)
    const pongs = controls.filter(({ payload }) => String(payload) === 'here')
    expect(pongs.length).toBe(Math.ceil(turn / 5))
    const rest = bytes().toString('latin1').replaceAll(ours.toString('latin1'), '')
    expect(rest).toBe(Buffer.concat([...DATA, PING]).toString('latin1'))
  },
)

it.each([1, 3, 8, 9, 1_000])('knows the frames of SPDY too, in pieces of %i bytes', (size) => {
  const ping = controlFrame(FRAME.PING, 0, [1])
  const data = Buffer.concat([dataHead(1, 5_000, 0), Buffer.alloc(5_000, 0x80), dataHead(3, 0, 1)])
  const passed: Buffer[] = []
  const frames = new FramePassage(new FrameTracker(), (piece) => passed.push(Buffer.from(piece)))
  frames.pass(data.subarray(0, 1))
  frames.put(ping)
  inPieces(Buffer.concat([data.subarray(1), data]), size, (piece) => frames.pass(piece))
  const end = data.length - dataHead(3, 0, 1).length
  expect(Buffer.concat(passed)).toEqual(
    Buffer.concat([data.subarray(0, end), ping, data.subarray(end), data]),
  )
})
