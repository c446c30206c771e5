import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { addAdmin } from '../../src/device/admins.ts'
import { installCertificate, requestToSend } from '../../src/device/certificate-by-owner.ts'
import { readCertificateFile } from '../../src/device/certificate-file.ts'
import {
  formatCertificateRequest,
  parseCertificateRequest,
} from '../../src/device/certificate-request.ts'
import { listClusters, removeCluster, showCluster } from '../../src/device/clusters.ts'
import { credentialFor } from '../../src/device/credentials.ts'
import { setDirectAddress } from '../../src/device/direct-address.ts'
import { withFleet } from '../../src/device/fleet-session.ts'
import { grantRole } from '../../src/device/grant.ts'
import { certificatePath, userCaPath } from '../../src/device/home.ts'
import { login } from '../../src/device/login.ts'
import { logout } from '../../src/device/logout.ts'
import { signCertificateRequest } from '../../src/device/owner-issuing.ts'
import { openProxyWays } from '../../src/device/proxy-ways.ts'
import { completeRegistration, prepareRegistration } from '../../src/device/register.ts'
import { revokeDevice, revokeUser } from '../../src/device/revoke.ts'
import { isConsent, signConsent } from '../../src/directory/consent.ts'
import { signingKeyFromPem } from '../../src/directory/signing-key.ts'
import { AccessDeniedError, IdentityError } from '../../src/errors.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { createCsr, readCsr } from '../../src/pki/csr.ts'
import { generateKeyPair } from '../../src/pki/key-pair.ts'
import { issueUserCertificate } from '../../src/pki/profiles.ts'
import { readUserCertificate } from '../../src/pki/user-certificate.ts'
import type { FakeAgent } from './fake-agent.ts'
import {
  asAda,
  DAY,
  deviceAt,
  foundedFleet,
  HOUR,
  joinedDevice,
  ownersCa,
  registeredCluster,
  removeDevices,
  type TestDevice,
  type TestFleet,
} from './fleet.ts'

let fleet: TestFleet
let agent: FakeAgent

beforeEach(async () => {
  fleet = await foundedFleet()
  agent = await registeredCluster(fleet, 'edge', 'local')
})

afterEach(async () => {
  await fleet.hub.stop()
  await removeDevices()
})

const keyFile = (device: TestDevice) => join(device.home.secrets, `user-ca-key.${agent.id}`)
const options = (name: string) =>
  ({ name, labels: {}, endpoint: 'public', issuer: 'local' }) as const

function grantTo(user: string) {
  const grant = { subject: { kind: 'user', name: user }, role: 'ro' } as const
  return asAda(fleet, (session) => grantRole(session, grant, ['edge']))
}

/** Bob, who is a member, with his request. */
async function bobAsks() {
  const bob = await joinedDevice(fleet, 'bob', ['dev'])
  await grantTo('bob')
  const { request } = await requestToSend(bob, 'edge')
  return { bob, request }
}

async function deviceKeyOf(device: TestDevice) {
  return signingKeyFromPem(await readFile(join(device.home.secrets, 'device-key'), 'utf8'))
}

describe('registering with --issuer local', () => {
  test('keeps the user CA’s key here, and agent.yaml has its certificate alone', async () => {
    const { objects, registration } = await asAda(fleet, (session) =>
      prepareRegistration(session, options('far')),
    )
    const pem = await readFile(userCaPath(fleet.ada.home, registration.id), 'utf8')
    expect(ownersCa(objects)!.toString('base64')).toBe(pem.replaceAll(/-----[^-]+-----|\s/g, ''))
    const key = await fleet.ada.secrets.get(`user-ca-key.${registration.id}`)
    const inside = key!.reveal().replaceAll(/-----[^-]+-----|\s/g, '')
    const texts = objects.flatMap((object) => Object.values((object as never)['data'] ?? {}))
    const decoded = texts.map((text) => Buffer.from(String(text), 'base64').toString())
    expect(`${JSON.stringify(objects)}${decoded.join()}`).not.toContain(inside.slice(0, 40))
    expect(decoded.join()).not.toContain('PRIVATE KEY')
    expect(fleet.ada.said.join()).toContain('its key is in a file only you can read')
  })

  test('signs a statement that says so, with that CA and no other', async () => {
    const cluster = fleet.hub.directory.state.clusters.get(agent.id)!
    expect(cluster.issuer).toBe('local')
    expect(cluster.userCaDer.equals(agent.ownersCaDer!)).toBe(true)
    expect(cluster.serverCaDer.equals(agent.serverCa.certificateDer)).toBe(true)
  })

  test('an agent that publishes another user CA is found out, and nothing is signed', async () => {
    const { registration } = await asAda(fleet, (session) =>
      prepareRegistration(session, options('far')),
    )
    await fleet.hub.registerAgent(registration.id, registration.pairingSecret)
    const head = fleet.hub.directory.head
    await expect(
      asAda(fleet, (session) => completeRegistration(session, options('far'), 0)),
    ).rejects.toMatchObject({ code: 'MCM_PAIRING_MISMATCH', exitCode: 7 })
    expect(fleet.hub.directory.head).toEqual(head)
  })

  test('goes on without the flag, and refuses the other one', async () => {
    const first = await asAda(fleet, (session) => prepareRegistration(session, options('far')))
    const plain = { name: 'far', labels: {}, endpoint: 'public' } as const
    const again = await asAda(fleet, (session) => prepareRegistration(session, plain))
    expect(ownersCa(again.objects)).toEqual(ownersCa(first.objects))
    await expect(
      asAda(fleet, (session) => prepareRegistration(session, { ...plain, issuer: 'agent' })),
    ).rejects.toMatchObject({ code: 'MCM_USAGE' })
    const ca = ownersCa(first.objects)
    const { id, pairingSecret } = first.registration
    await fleet.hub.registerAgent(id, pairingSecret, ca)
    await asAda(fleet, (session) => completeRegistration(session, plain, 0))
    expect(fleet.hub.directory.state.clusters.get(id)!.issuer).toBe('local')
  })

  test('is over when the agent can be reached, though the owner’s certificate is there before', async () => {
    const { registration, objects } = await asAda(fleet, (session) =>
      prepareRegistration(session, options('far')),
    )
    const { id, pairingSecret } = registration
    const far = await fleet.hub.registerAgent(id, pairingSecret, ownersCa(objects))
    fleet.hub.agents.delete(id)
    const registering = asAda(fleet, (session) =>
      completeRegistration(session, options('far'), 60_000),
    )
    await expect.poll(() => fleet.hub.requests.join()).toContain(`CONNECT ${id}`)
    fleet.hub.agents.set(id, far)
    expect(await registering).toMatchObject({ id, certificateUntil: expect.any(String) })
    expect(fleet.ada.said.join()).not.toContain('first form')
  })

  test.each([
    ['knows nothing of it', new AccessDeniedError('MCM_FORBIDDEN', 'no such device')],
    ['takes it for somebody else’s', new IdentityError('MCM_CERTIFICATE_UNKNOWN', 'not known')],
  ])('is over when the agent knows the owner: not while it %s', async (_, refusal) => {
    const { registration, objects } = await asAda(fleet, (session) =>
      prepareRegistration(session, options('far')),
    )
    const { id, pairingSecret } = registration
    const far = await fleet.hub.registerAgent(id, pairingSecret, ownersCa(objects))
    far.sessionRefusal = refusal
    const registering = asAda(fleet, (session) =>
      completeRegistration(session, options('far'), 60_000),
    )
    await expect.poll(() => far.sessionsRefused).toBeGreaterThan(0)
    const { fingerprint } = await credentialFor(fleet.ada, id)
    const asked = far.sessionsRefused
    await expect.poll(() => far.sessionsRefused, { timeout: 10_000 }).toBeGreaterThan(asked)
    far.sessionRefusal = undefined
    expect(await registering).toMatchObject({ id, certificateUntil: expect.any(String) })
    expect(fleet.ada.said.join()).not.toContain('first form')
    expect((await credentialFor(fleet.ada, id)).fingerprint).toBe(fingerprint)
  })

  test('a token that ran out takes its CA along', async () => {
    const first = await asAda(fleet, (session) => prepareRegistration(session, options('far')))
    fleet.world.advance(2 * HOUR)
    const again = await asAda(fleet, (session) => prepareRegistration(session, options('far')))
    expect(again.registration.id).not.toBe(first.registration.id)
    const names = (await readdir(fleet.ada.home.secrets)).filter((name) => name.includes('user-ca'))
    expect(names.sort()).toEqual(
      [agent.id, again.registration.id].map((id) => `user-ca-key.${id}`).sort(),
    )
  })

  test('is shown: in the list, and who has the key', async () => {
    expect((await asAda(fleet, listClusters))[0]).toMatchObject({ issuer: 'local' })
    const shown = await asAda(fleet, (session) => showCluster(session, 'edge'))
    expect(shown.owner).toEqual({ name: 'ada on laptop', isHere: true })
    const { bob } = await bobAsks()
    const seen = await withFleet(bob, (session) => showCluster(session, 'edge'))
    expect(seen.owner).toEqual({ name: 'ada on laptop', isHere: false })
  })
})

describe('the owner’s own certificate', () => {
  test('is made here for twelve hours, with the consent of this device, asking no agent', async () => {
    const { certificatePem } = await credentialFor(fleet.ada, agent.id)
    const file = (await readCertificateFile(certificatePath(fleet.ada.home, agent.id)))!
    const der = Buffer.from(certificatePem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')
    const read = readUserCertificate(der, agent.ownersCaDer!)
    const key = await deviceKeyOf(fleet.ada)
    expect(read).toMatchObject({ user: 'ada', device: key.id, fingerprint: file.fingerprint })
    const subject = { cluster: agent.id, publicKeyDer: read.publicKeyDer }
    expect(isConsent(key.jwk, subject, read.consent!)).toBe(true)
    expect(read.notAfter.getTime() - read.notBefore.getTime()).toBe(12 * HOUR + 300_000)
    expect(fleet.hub.requests.filter((each) => each.includes('enrol.'))).toEqual([])
  })

  test('renews by itself at two thirds and after any time, without hub and agent', async () => {
    const first = await credentialFor(fleet.ada, agent.id)
    await fleet.hub.stop()
    fleet.world.advance(8 * HOUR + 60_000)
    const second = await credentialFor(fleet.ada, agent.id)
    expect(second.fingerprint).not.toBe(first.fingerprint)
    fleet.world.advance(14 * DAY)
    const third = await credentialFor(fleet.ada, agent.id)
    expect(third.notAfter > fleet.world.now()).toBe(true)
  })

  test('fifty callers at once make one', async () => {
    fleet.world.advance(DAY)
    const all = await Promise.all(
      Array.from({ length: 50 }, () => credentialFor(fleet.ada, agent.id)),
    )
    expect(new Set(all.map(({ fingerprint }) => fingerprint)).size).toBe(1)
  })

  test('is used on a session, in mcm proxy and after mcm login as any other', async () => {
    const ways = openProxyWays(fleet.ada)
    expect((await ways.credential(agent.id)).user).toBe('ada')
    ways.close()
    const before = await credentialFor(fleet.ada, agent.id)
    const result = await login(fleet.ada, { deviceName: 'laptop', endpoint: 'public' })
    expect(result.clusters).toMatchObject([{ id: agent.id, certificateUntil: expect.any(String) }])
    expect((await credentialFor(fleet.ada, agent.id)).fingerprint).not.toBe(before.fingerprint)
    // Grants go over a session with it.
    await joinedDevice(fleet, 'bob')
    expect(await grantTo('bob')).toMatchObject([{ cluster: 'edge' }])
  })

  test('with the CA’s key gone from here the error says which, and what is left to do', async () => {
    await rm(keyFile(fleet.ada))
    fleet.world.advance(DAY)
    const error = await credentialFor(fleet.ada, agent.id).catch((e) => e)
    expect(error).toMatchObject({ code: 'MCM_STATE_DAMAGED', exitCode: 8 })
    expect(error.message).toContain(`user CA of edge cannot sign: its key is gone from`)
    expect(error.hint).toContain('mcm register edge --issuer local')
  })

  test('with the CA’s key gone the certificate in use serves to its end; once it is said', async () => {
    const first = await credentialFor(fleet.ada, agent.id)
    await rm(keyFile(fleet.ada))
    fleet.world.advance(9 * HOUR)
    fleet.ada.said.length = 0
    const all = await Promise.all(
      Array.from({ length: 20 }, () => credentialFor(fleet.ada, agent.id)),
    )
    expect(new Set(all.map(({ fingerprint }) => fingerprint))).toEqual(new Set([first.fingerprint]))
    expect(fleet.ada.said).toEqual([
      expect.stringMatching(/^mcm: the certificate in use ends at .+: the user CA of edge cannot/),
      expect.stringContaining('mcm register edge --issuer local'),
    ])
    const refused = credentialFor(fleet.ada, agent.id, { refusedPem: first.certificatePem })
    await expect(refused).rejects.toMatchObject({ code: 'MCM_STATE_DAMAGED' })
    fleet.world.advance(4 * HOUR)
    await expect(credentialFor(fleet.ada, agent.id)).rejects.toMatchObject({
      code: 'MCM_STATE_DAMAGED',
    })
  })

  test.each<[string, () => Promise<void>]>([
    ['a damaged key', () => writeFile(keyFile(fleet.ada), 'nonsense')],
    [
      'the key of another CA',
      () => writeFile(keyFile(fleet.ada), generateKeyPair().privateKeyPem.reveal()),
    ],
    ['a damaged certificate', () => writeFile(userCaPath(fleet.ada.home, agent.id), 'nonsense')],
    [
      'another CA altogether',
      async () => {
        const other = await createAuthority(fleet.world, { commonName: 'other' })
        await writeFile(keyFile(fleet.ada), other.privateKeyPem.reveal())
        await writeFile(userCaPath(fleet.ada.home, agent.id), other.certificatePem)
      },
    ],
  ])('with %s nothing is signed', async (_what, damage) => {
    await damage()
    fleet.world.advance(DAY)
    const error = await credentialFor(fleet.ada, agent.id).catch((e) => e)
    expect(error).toMatchObject({ code: 'MCM_STATE_DAMAGED', exitCode: 8 })
    expect(JSON.stringify([error.message, error.hint])).not.toContain('PRIVATE KEY')
  })
})

describe('somebody else', () => {
  test('is told at login whom to ask, and the key waits here', async () => {
    const bob = await joinedDevice(fleet, 'bob')
    await grantTo('bob')
    const { clusters } = await login(bob, { deviceName: 'laptop', endpoint: 'public' })
    expect(clusters[0]!.problem).toBe(
      'signed by ada on laptop: send them what mcm certs request edge prints',
    )
    expect(await readdir(bob.home.secrets)).toContain(`request-key.${agent.id}`)
    const error = await credentialFor(bob, agent.id).catch((e) => e)
    expect(error).toMatchObject({ code: 'MCM_OWNER_SIGNS', exitCode: 4 })
    expect(error.hint).toContain('mcm certs request edge')
    expect(fleet.hub.requests.filter((each) => each.includes('enrol.'))).toEqual([])
  })

  test('asks, the owner signs, and what comes back works until it ends', async () => {
    const { bob, request } = await bobAsks()
    const signed = await signCertificateRequest(fleet.ada, request)
    expect(signed).toMatchObject({ user: 'bob', groups: ['dev'], cluster: { name: 'edge' } })
    const installed = await installCertificate(bob, `sent by ada:\n${signed.certificate}\ncheers`)
    expect(installed).toMatchObject({ user: 'bob', certificateUntil: signed.notAfter })
    const credential = await credentialFor(bob, agent.id)
    expect(credential.fingerprint).toBe(signed.fingerprint)
    await fleet.hub.stop()
    fleet.world.advance(11 * HOUR)
    expect((await credentialFor(bob, agent.id)).fingerprint).toBe(signed.fingerprint)
    const names = await readdir(bob.home.secrets)
    expect(names.filter((name) => name.includes('request'))).toEqual([])
  })

  test('asks with one and the same text until it is answered, then with another', async () => {
    const { bob, request } = await bobAsks()
    const again = await requestToSend(await deviceAt(bob.home.directory, fleet.world), 'edge')
    expect(again).toEqual({
      cluster: { id: agent.id, name: 'edge' },
      owner: 'ada on laptop',
      request,
    })
    expect(request).not.toContain('PRIVATE KEY')
    const { certificate } = await signCertificateRequest(fleet.ada, request)
    await installCertificate(bob, certificate)
    expect((await requestToSend(bob, 'edge')).request).not.toBe(request)
  })

  test('may install the answer twice, and a later answer to the same request', async () => {
    const { bob, request } = await bobAsks()
    const first = await signCertificateRequest(fleet.ada, request)
    await installCertificate(bob, first.certificate)
    await installCertificate(bob, first.certificate)
    fleet.world.advance(HOUR)
    const second = await signCertificateRequest(fleet.ada, request, (7 * DAY) / 1000)
    await installCertificate(bob, second.certificate)
    expect((await credentialFor(bob, agent.id)).fingerprint).toBe(second.fingerprint)
  })

  test('is reminded at login when two thirds are over, and keeps what is left', async () => {
    const { bob, request } = await bobAsks()
    const signed = await signCertificateRequest(fleet.ada, request)
    await installCertificate(bob, signed.certificate)
    const again = () => login(bob, { deviceName: 'laptop', endpoint: 'public' })
    expect((await again()).clusters).toEqual([
      { id: agent.id, name: 'edge', certificateUntil: signed.notAfter },
    ])
    fleet.world.advance(9 * HOUR)
    const [reminded] = (await again()).clusters
    expect(reminded!.certificateUntil).toBe(signed.notAfter)
    expect(reminded!.problem).toContain('mcm certs request edge')
  })

  test('after the end is told whom to ask; so is whoever the agent refuses', async () => {
    const { bob, request } = await bobAsks()
    const { certificate } = await signCertificateRequest(fleet.ada, request)
    await installCertificate(bob, certificate)
    const refused = credentialFor(bob, agent.id, { refusedPem: certificate })
    await expect(refused).rejects.toMatchObject({ code: 'MCM_OWNER_SIGNS' })
    fleet.world.advance(13 * HOUR)
    await expect(credentialFor(bob, agent.id)).rejects.toMatchObject({ code: 'MCM_OWNER_SIGNS' })
  })

  test('on the owner’s other machine is sent to the one with the key', async () => {
    const phone = await joinedDevice(fleet, 'ada')
    const { request } = await requestToSend(phone, 'edge')
    await expect(signCertificateRequest(phone, request)).rejects.toMatchObject({
      code: 'MCM_OWNER_SIGNS',
      hint: expect.stringContaining('ada on laptop'),
    })
    const { certificate } = await signCertificateRequest(fleet.ada, request)
    expect((await installCertificate(phone, certificate)).user).toBe('ada')
  })

  test('is sent to whoever registered the cluster, though another administrator signed it last', async () => {
    const bob = await joinedDevice(fleet, 'bob')
    await asAda(fleet, (session) => addAdmin(session, 'bob'))
    const direct = { sessions: '10.0.0.5:7443', enrolment: '10.0.0.5:7444' }
    await withFleet(bob, (session) => setDirectAddress(session, 'edge', direct))
    await grantTo('bob')
    expect((await requestToSend(bob, 'edge')).owner).toBe('ada on laptop')
  })

  test('asks the agent, not the owner, where the agent issues', async () => {
    await registeredCluster(fleet, 'idc-k8s')
    await expect(requestToSend(fleet.ada, 'idc-k8s')).rejects.toMatchObject({ code: 'MCM_USAGE' })
  })
})

describe('the owner signs', () => {
  test('only the key of a request: its own name means nothing', async () => {
    const { bob } = await bobAsks()
    const key = await deviceKeyOf(bob)
    const csr = await createCsr(generateKeyPair().privateKeyPem, 'system:masters')
    const { publicKeyDer } = await readCsr(csr)
    const consent = signConsent(key, { cluster: agent.id, publicKeyDer })
    const text = formatCertificateRequest({ cluster: agent.id, device: key.id, csr, consent })
    const signed = await signCertificateRequest(fleet.ada, text)
    expect(signed.user).toBe('bob')
    expect(signed.certificate).not.toContain('masters')
    const der = Buffer.from(signed.certificate.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')
    expect(readUserCertificate(der, agent.ownersCaDer!)).toMatchObject({
      user: 'bob',
      groups: ['dev'],
    })
  })

  test.each<[string, (parts: Parts) => Partial<Parts>]>([
    ['in another’s name, by a device that has not asked', () => ({ consent: 'A'.repeat(86) })],
    ['with another key than the device has signed for', () => ({ csr: strangersCsr })],
    ['for a device that nobody knows', () => ({ device: 'B'.repeat(43) })],
    ['for a cluster that nobody knows', () => ({ cluster: 'c-aaaaaaaaaa' })],
    ['whose CSR is damaged', ({ csr }) => ({ csr: csr.replace(/[A-Z]/, 'a') })],
  ])('nothing %s', async (_what, change) => {
    const { request } = await bobAsks()
    const parts = parseCertificateRequest(request)
    const text = formatCertificateRequest({ ...parts, ...change(parts) })
    await expect(signCertificateRequest(fleet.ada, text)).rejects.toMatchObject({
      code: expect.stringMatching(
        /^MCM_(CERTIFICATE_UNTRUSTED|DEVICE_UNKNOWN|CLUSTER_UNKNOWN|BAD_REQUEST)$/,
      ),
    })
  })

  test('nothing for another cluster with a request that was made for this one', async () => {
    const other = await registeredCluster(fleet, 'far', 'local')
    const { request } = await bobAsks()
    await asAda(fleet, (session) =>
      grantRole(session, { subject: { kind: 'user', name: 'bob' }, role: 'ro' }, ['far']),
    )
    const parts = parseCertificateRequest(request)
    const text = formatCertificateRequest({ ...parts, cluster: other.id })
    await expect(signCertificateRequest(fleet.ada, text)).rejects.toMatchObject({
      code: 'MCM_CERTIFICATE_UNTRUSTED',
      exitCode: 7,
    })
  })

  test('nothing for whoever was revoked, person or device, and nothing for who is no member', async () => {
    const stranger = await joinedDevice(fleet, 'carol')
    const key = await deviceKeyOf(stranger)
    const csr = await createCsr(generateKeyPair().privateKeyPem)
    const { publicKeyDer } = await readCsr(csr)
    const consent = signConsent(key, { cluster: agent.id, publicKeyDer })
    const text = formatCertificateRequest({ cluster: agent.id, device: key.id, csr, consent })
    const noMember = { code: 'MCM_NO_GRANT', exitCode: 5 }
    await expect(signCertificateRequest(fleet.ada, text)).rejects.toMatchObject(noMember)
    const { bob, request } = await bobAsks()
    const { id } = await deviceKeyOf(bob)
    await asAda(fleet, (session) => revokeDevice(session, 'bob', id, 'lost'))
    const revoked = { code: 'MCM_REVOKED', exitCode: 5 }
    await expect(signCertificateRequest(fleet.ada, request)).rejects.toMatchObject(revoked)
    await asAda(fleet, (session) => revokeUser(session, 'carol', ''))
    await expect(signCertificateRequest(fleet.ada, text)).rejects.toMatchObject(revoked)
  })

  test.each([0, 59, 30 * 86_400 + 1, Number.NaN])('no lifetime of %s seconds', async (seconds) => {
    await expect(signCertificateRequest(fleet.ada, 'x', seconds)).rejects.toMatchObject({
      code: 'MCM_USAGE',
    })
  })

  test('for 30 days at most, and says until when', async () => {
    const { request } = await bobAsks()
    const signed = await signCertificateRequest(fleet.ada, request, 30 * 86_400)
    const end = fleet.world.now().getTime() + 30 * DAY
    expect(Math.abs(Date.parse(signed.notAfter) - end)).toBeLessThan(1000)
  })

  test('also without a hub, by the directory that was verified here last, which is said', async () => {
    const { request } = await bobAsks()
    await asAda(fleet, async () => undefined)
    await fleet.hub.stop()
    expect((await signCertificateRequest(fleet.ada, request)).user).toBe('bob')
    expect(fleet.ada.said.at(-1)).toMatch(/^no hub answers: by the copy of the directory here/)
  })

  test.each([
    ['nothing', ''],
    [
      'something else',
      '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----',
    ],
    ['half a block', '-----BEGIN MCM CERTIFICATE REQUEST-----\nAAAA'],
    ['a block of nonsense', block('nonsense')],
    ['a block of another form', block('{"v":1,"user":"root"}')],
    ['a member too many', block('{"v":1,"cluster":"c-aaaaaaaaaa","extra":1}')],
    ['a newer version', block('{"v":2}')],
    ['far too much', 'A'.repeat(70_000)],
  ])('no text that holds %s', async (_what, text) => {
    await expect(signCertificateRequest(fleet.ada, text)).rejects.toMatchObject({
      code: 'MCM_BAD_FILE',
      exitCode: 2,
    })
  })

  test('a request that lost its line ends on the way is still one', async () => {
    const { request } = await bobAsks()
    const flat = `> ${request.replaceAll('\n', ' ')}`
    expect((await signCertificateRequest(fleet.ada, flat)).user).toBe('bob')
  })
})

describe('a certificate is kept only if it is', () => {
  test('for a key of this device', async () => {
    const { bob, request } = await bobAsks()
    const signed = await signCertificateRequest(fleet.ada, request)
    const phone = await joinedDevice(fleet, 'bob')
    await expect(installCertificate(phone, signed.certificate)).rejects.toMatchObject({
      code: 'MCM_CERTIFICATE_UNKNOWN',
      hint: expect.stringContaining('mcm certs request edge'),
    })
    expect((await installCertificate(bob, signed.certificate)).user).toBe('bob')
  })

  test.each<[string, (names: Names) => Partial<Names>]>([
    ['in this person’s name', () => ({ user: 'ada' })],
    ['for this device', () => ({ device: 'B'.repeat(43) })],
  ])('%s', async (_what, change) => {
    const { bob, request } = await bobAsks()
    const { csr, consent, device } = parseCertificateRequest(request)
    const { publicKeyDer } = await readCsr(csr)
    const { loadUserCa } = await import('../../src/device/user-ca.ts')
    const cluster = fleet.hub.directory.state.clusters.get(agent.id)!
    const authority = (await loadUserCa(fleet.ada, cluster))!
    const names = { user: 'bob', groups: [], device, ...change({ user: 'bob', device }) }
    const asked = { ...names, publicKeyDer, consent }
    const { pem } = await issueUserCertificate(fleet.world, authority, asked, 3600)
    await expect(installCertificate(bob, pem)).rejects.toMatchObject({
      code: 'MCM_CERTIFICATE_UNTRUSTED',
      exitCode: 7,
    })
    expect(await readCertificateFile(certificatePath(bob.home, agent.id))).toBeUndefined()
  })

  test('signed by the CA that the directory names, not by one that calls itself so', async () => {
    const { bob, request } = await bobAsks()
    const { csr, consent, device } = parseCertificateRequest(request)
    const { publicKeyDer } = await readCsr(csr)
    const evil = await createAuthority(fleet.world, { commonName: `mcm user CA ${agent.id}` })
    const names = { user: 'bob', groups: [], device, publicKeyDer, consent }
    const { pem } = await issueUserCertificate(fleet.world, evil, names, 3600)
    await expect(installCertificate(bob, pem)).rejects.toMatchObject({
      code: 'MCM_CERTIFICATE_UNTRUSTED',
    })
  })

  test('of a cluster whose owner issues: an agent’s own certificates come by login', async () => {
    const other = await registeredCluster(fleet, 'idc-k8s')
    const { certificatePem } = await credentialFor(fleet.ada, other.id)
    await expect(installCertificate(fleet.ada, certificatePem)).rejects.toMatchObject({
      code: 'MCM_USAGE',
    })
  })

  test('not over, and one', async () => {
    const { bob, request } = await bobAsks()
    const { certificate } = await signCertificateRequest(fleet.ada, request)
    for (const text of ['', 'nonsense', `${certificate}${certificate}`])
      await expect(installCertificate(bob, text)).rejects.toMatchObject({ code: 'MCM_BAD_FILE' })
    fleet.world.advance(13 * HOUR)
    await expect(installCertificate(bob, certificate)).rejects.toMatchObject({
      code: 'MCM_CERTIFICATE_UNTRUSTED',
    })
  })
})

test('logout takes the CA, requests and their keys along, and removing the cluster as well', async () => {
  const { bob } = await bobAsks()
  const bobs = (await logout(bob)).deleted
  expect(bobs.some((name) => name.includes('request-key'))).toBe(true)
  expect(await readdir(bob.home.directory)).toEqual([])
  await asAda(fleet, (session) => removeCluster(session, 'edge', ''))
  const names = await readdir(fleet.ada.home.secrets)
  expect(names.filter((name) => name.includes(agent.id))).toEqual([])
  expect(await readdir(fleet.ada.home.userCas)).toEqual([])
  const again = await registeredCluster(fleet, 'far', 'local')
  const { deleted } = await logout(fleet.ada)
  expect(deleted).toContain(join(fleet.ada.home.secrets, `user-ca-key.${again.id}`))
  expect(await readdir(fleet.ada.home.directory)).toEqual([])
})

type Parts = ReturnType<typeof parseCertificateRequest>
interface Names {
  readonly user: string
  readonly device: string
}

const strangersCsr = await createCsr(generateKeyPair().privateKeyPem)

function block(text: string): string {
  const label = 'MCM CERTIFICATE REQUEST'
  const base64 = Buffer.from(text).toString('base64')
  return `-----BEGIN ${label}-----\n${base64}\n-----END ${label}-----\n`
}
