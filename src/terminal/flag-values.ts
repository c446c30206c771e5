import { MAX_BOT_LIFETIME_SECONDS, MIN_BOT_LIFETIME_SECONDS } from '../directory/bot-lifetime.ts'
import { UsageError } from '../errors.ts'

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `30m`, `24h`, `7d` as milliseconds. @throws UsageError MCM_USAGE naming the flag */
export function durationFlag(flag: string, text: string): number {
  const match = /^([1-9]\d{0,5})([smhd])$/.exec(text)
  if (match) return Number(match[1]) * UNITS[match[2] as keyof typeof UNITS]
  throw new UsageError('MCM_USAGE', `--${flag} ${JSON.stringify(text)} is no length of time`, {
    hint: `write a number and s, m, h or d, as in --${flag} 24h`,
  })
}

/** How long certificates of bots live, in seconds. @throws UsageError MCM_USAGE naming the flag */
export function botLifeFlag(flag: string, text: string): number {
  const seconds = durationFlag(flag, text) / 1000
  if (seconds >= MIN_BOT_LIFETIME_SECONDS && seconds <= MAX_BOT_LIFETIME_SECONDS) return seconds
  throw new UsageError('MCM_USAGE', `--${flag} ${text}: certificates of bots live 10m to 90d`, {
    hint: `give --${flag} as 36h or 30d`,
  })
}

const MIN_MAXIMUM_AGE_MS = 2 * UNITS.d

/** How old a directory may be: administrators confirm it once a day. @throws UsageError MCM_USAGE naming the flag */
export function maximumAgeFlag(flag: string, text: string): number {
  const ms = durationFlag(flag, text)
  if (ms >= MIN_MAXIMUM_AGE_MS) return ms
  throw new UsageError('MCM_USAGE', `--${flag} ${text} is shorter than two days`, {
    hint: 'administrators’ commands confirm the directory once a day: give 2d or more, so that a day off shuts nobody out',
  })
}

/** The same as `durationFlag`, or `0`. @throws UsageError MCM_USAGE naming the flag */
export function overlapFlag(flag: string, text: string): number {
  return text === '0' ? 0 : durationFlag(flag, text)
}

/** The number of an access request. @throws UsageError MCM_USAGE */
export function requestArgument(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new UsageError('MCM_USAGE', `${JSON.stringify(text)} is no number of an access request`, {
    hint: 'mcm requests shows the numbers',
  })
}

/** RFC 3339 in UTC, such as `2030-01-31T18:00:00Z`. @throws UsageError MCM_USAGE naming the flag */
export function timeFlag(flag: string, text: string): Date {
  const time = new Date(text)
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z$/.test(text) && !Number.isNaN(time.getTime()))
    return time
  throw new UsageError('MCM_USAGE', `--${flag} ${JSON.stringify(text)} is no time`, {
    hint: `write it in UTC, as in --${flag} 2030-01-31T18:00:00Z`,
  })
}

/** `team=a` pairs as a map. @throws UsageError MCM_USAGE naming the flag */
export function pairsFlag(flag: string, texts: readonly string[]): Record<string, string> {
  const pairs = texts.map((text) => {
    const [name, value, ...rest] = text.split('=')
    if (name && value !== undefined && rest.length === 0) return [name, value] as const
    throw new UsageError('MCM_USAGE', `--${flag} ${JSON.stringify(text)} is no NAME=VALUE`, {
      hint: `write it as --${flag} NAME=VALUE`,
    })
  })
  return Object.fromEntries(pairs)
}

const PORT = /:(\d{1,5})$/

/** `HOST` or `HOST:PORT` as `HOST:PORT`; an IPv6 address may stand with or without brackets. @throws UsageError MCM_USAGE */
export function endpointFlag(flag: string, text: string, defaultPort: number): string {
  if (/^[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*$/i.test(text)) return `[${text}]:${defaultPort}`
  const port = Number(PORT.exec(text)?.[1] ?? defaultPort)
  const host = text.replace(PORT, '')
  const isHost = /^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-f:.]+\])$/i.test(host)
  if (isHost && port > 0 && port < 65_536) return `${host}:${port}`
  throw new UsageError('MCM_USAGE', `--${flag} ${JSON.stringify(text)} is no HOST or HOST:PORT`, {
    hint: `write it as --${flag} hub.example.com or --${flag} 10.0.0.5:8443`,
  })
}

/** `ADDRESS:PORT`, `:PORT` or nothing, for listening; port 0 takes a free one. @throws UsageError MCM_USAGE */
export function listenFlag(
  flag: string,
  text: string | undefined,
  anyAddress: string,
  defaultPort: number,
): { host: string; port: number } {
  if (text === undefined) return { host: anyAddress, port: defaultPort }
  const match = /^(\[[0-9a-f:.]+\]|[0-9.]*):(\d{1,5})$/i.exec(text)
  const port = Number(match?.[2])
  if (match && port < 65_536) {
    return { host: match[1]!.replace(/^\[|\]$/g, '') || anyAddress, port }
  }
  throw new UsageError('MCM_USAGE', `--${flag} ${JSON.stringify(text)} is no ADDRESS:PORT`, {
    hint: `write it as --${flag} 0.0.0.0:8443 or --${flag} [::]:8443`,
  })
}

/**
 * `HOST:PORT` or `HOST:PORT,PORT`: where others find an agent's sessions and its enrolment, which is the next
 * port unless told. @throws UsageError MCM_USAGE
 */
export function directFlag(flag: string, text: string): { sessions: string; enrolment: string } {
  const match = /^(\[[^\]]+\]|[^:[\]]+):(\d{1,5})(?:,(\d{1,5}))?$/.exec(text)
  const [sessions, enrolment] = [Number(match?.[2]), Number(match?.[3] ?? Number(match?.[2]) + 1)]
  const isPort = (port: number) => port > 0 && port < 65_536
  if (match && isPort(sessions) && isPort(enrolment) && sessions !== enrolment) {
    const host = endpointFlag(flag, match[1]!, sessions).replace(PORT, '')
    return { sessions: `${host}:${sessions}`, enrolment: `${host}:${enrolment}` }
  }
  throw new UsageError('MCM_USAGE', `--${flag} ${JSON.stringify(text)} is no HOST:PORT[,PORT]`, {
    hint: `write it as --${flag} cluster.example.com:9443 or --${flag} 10.0.0.5:9443,9444`,
  })
}

/** `ADDRESS:PORT[,PORT]` for listening on both; undefined when nothing is asked. @throws UsageError MCM_USAGE */
export function directListenFlag(
  flag: string,
  text: string | undefined,
  anyAddress: string,
): { host: string; ports: { session: number; enrolment: number } } | undefined {
  if (text === undefined) return undefined
  const [first = '', second, ...rest] = text.split(',')
  const { host, port } = listenFlag(flag, first, anyAddress, 0)
  const enrolment = second === undefined ? port && port + 1 : listenPort(second)
  if (enrolment !== undefined && enrolment < 65_536 && rest.length === 0)
    return { host, ports: { session: port, enrolment } }
  throw new UsageError('MCM_USAGE', `--${flag} ${JSON.stringify(text)} is no ADDRESS:PORT[,PORT]`, {
    hint: `write it as --${flag} :9443 or --${flag} 10.0.0.5:9443,9444`,
  })
}

function listenPort(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) ? Number(text) : undefined
}

/** `ADDRESS:PORT`, an IPv6 address in brackets. */
export function formatAddress({
  host,
  port,
}: {
  readonly host: string
  readonly port: number
}): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
