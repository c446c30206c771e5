import { UsageError } from '../errors.ts'

/** The one line that brings a person or a fleet to a hub (docs/PROTOCOL.md §2). */
export type Link =
  | {
      readonly kind: 'start'
      readonly endpoints: readonly string[]
      readonly hubPin: string
      readonly token: string
    }
  | {
      readonly kind: 'join'
      readonly endpoints: readonly string[]
      readonly hubPin: string
      readonly fleet: string
      readonly secret: string
    }
  | {
      readonly kind: 'oidc'
      readonly endpoints: readonly string[]
      readonly hubPin: string
      readonly fleet: string
      /** The detail hash of the `oidc` statement (PROTOCOL §11.3). */
      readonly detail: string
    }

const FINGERPRINT = /^[A-Za-z0-9_-]{43}$/
const TOKEN = /^[A-Za-z0-9_-]{22,86}$/
const ENDPOINT = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/

/** The link as text. Most hold a secret: show it once, never log it. */
export function formatLink(link: Link): string {
  return `mcm://${link.endpoints.join(',')}/${link.kind}#pin=${link.hubPin}&${fieldsOf(link)}`
}

function fieldsOf(link: Link): string {
  if (link.kind === 'start') return `token=${link.token}`
  const { fleet } = link
  return link.kind === 'join'
    ? `fleet=${fleet}&secret=${link.secret}`
    : `fleet=${fleet}&detail=${link.detail}`
}

/** Reads a link. The text is never repeated in the error: it may hold a secret. @throws UsageError MCM_BAD_LINK */
export function parseLink(text: string): Link {
  const match = /^mcm:\/\/([^/#?\s]+)\/(start|join|oidc)#(\S+)$/.exec(text.trim())
  if (!match) throw badLink('it does not look like mcm://HOST:PORT/join#…')
  const endpoints = match[1]!.split(',')
  const fields = new URLSearchParams(match[3])
  if (!endpoints.every(isEndpoint)) throw badLink('it names no HOST:PORT')
  const hubPin = field(fields, 'pin', FINGERPRINT)
  if (match[2] === 'start')
    return { kind: 'start', endpoints, hubPin, token: field(fields, 'token', TOKEN) }
  const fleet = field(fields, 'fleet', FINGERPRINT)
  if (match[2] === 'oidc')
    return { kind: 'oidc', endpoints, hubPin, fleet, detail: field(fields, 'detail', FINGERPRINT) }
  return { kind: 'join', endpoints, hubPin, fleet, secret: field(fields, 'secret', TOKEN) }
}

function isEndpoint(text: string): boolean {
  const port = Number(text.slice(text.lastIndexOf(':') + 1))
  return ENDPOINT.test(text) && port > 0 && port < 65_536
}

function field(fields: URLSearchParams, name: string, pattern: RegExp): string {
  const value = fields.get(name)
  if (!value) throw badLink(`its ${name} is missing`)
  if (!pattern.test(value)) throw badLink(`its ${name} is damaged`)
  return value
}

function badLink(why: string): UsageError {
  return new UsageError('MCM_BAD_LINK', `this link cannot be used: ${why}`, {
    hint: 'copy the whole link, in quotes, or ask for a new one (mcm invite)',
  })
}
