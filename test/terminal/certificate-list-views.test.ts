import { expect, test } from 'vitest'
import type { CertificateRow } from '../../src/device/certificate-list.ts'
import { viewCertificates, viewEnded } from '../../src/terminal/certificate-list-views.ts'
import { openScreen } from '../../src/terminal/screen.ts'

const silent = { write: () => true } as unknown as NodeJS.WritableStream
const screen = openScreen({ stdin: {}, stdout: silent, stderr: silent }, { NO_COLOR: '1' })

const ROW: CertificateRow = {
  cluster: 'idc-k8s',
  clusterId: 'c-aaaaaaaaaa',
  user: 'bob',
  device: { id: 'D'.repeat(43), name: 'laptop' },
  serial: '0a0b0c0d0e0f',
  fingerprint: 'f'.repeat(43),
  issued: '2026-01-01T00:00:00Z',
  expires: '2026-01-01T12:00:00Z',
  state: 'stands',
  lastUsed: { time: '2026-01-01T01:00:00Z', addressByHub: '192.0.2.7' },
  isThis: true,
}

test('a certificate is shown with whose it is, its times, and who vouches for the address', () => {
  const seen = { ...ROW, isThis: false, lastUsed: { time: '2026-01-01T02:00:00Z', address: '::1' } }
  const text = viewCertificates({ certificates: [ROW, seen], problems: [] }, screen)
  const [head, first, second] = text.split('\n')
  expect(head).toMatch(/^CLUSTER +USER +DEVICE +SERIAL +ISSUED +EXPIRES +STATE +LAST USED$/)
  expect(first).toMatch(/^idc-k8s +bob +laptop \(this one\) +0a0b0c0d /)
  expect(first).toMatch(/ stands +2026-01-01T01:00:00Z 192\.0\.2\.7\*$/)
  expect(second).toMatch(/ laptop +0a0b0c0d .* 2026-01-01T02:00:00Z ::1$/)
})

test('a cluster that could not be asked is named, and nothing of its words moves the cursor', () => {
  const problems = [{ cluster: 'ack', problem: 'no \u001b[2Jagent' }]
  expect(viewCertificates({ certificates: [], problems }, screen)).toBe(
    'no certificates\nack: no agent\n',
  )
  const text = viewEnded({ action: 'revoked', certificates: [ROW], problems }, screen)
  expect(text).toMatch(/^revoked:\nCLUSTER/)
  expect(text).toMatch(/\nack: no agent\n$/)
})
