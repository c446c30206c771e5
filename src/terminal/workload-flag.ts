import { UsageError } from '../errors.ts'

/** A program by the claims of its token. */
export interface Workload {
  readonly user: string
  readonly claims: Record<string, string>
}

/**
 * `NAME=CLAIM=VALUE`, repeated for each claim of a program, as rules; a name without `@` gets the domain.
 * @throws UsageError MCM_USAGE
 */
export function workloadsFlag(texts: readonly string[], domain: string): Workload[] {
  const rules = new Map<string, Record<string, string>>()
  for (const text of texts) {
    const match = /^([^=]+)=([^=]+)=(.+)$/u.exec(text)
    if (!match) throw notAWorkload(text, 'it is no NAME=CLAIM=VALUE')
    const [, name = '', claim = '', value = ''] = match
    const user = name.includes('@') ? name : `${name}@${domain}`
    rules.set(user, { ...rules.get(user), [claim]: value })
  }
  const withoutSubject = [...rules].find(([, claims]) => !Object.hasOwn(claims, 'sub'))
  if (withoutSubject) throw notAWorkload(withoutSubject[0], 'its claim sub is not given')
  return [...rules].map(([user, claims]) => ({ user, claims }))
}

function notAWorkload(text: string, why: string): UsageError {
  return new UsageError('MCM_USAGE', `--workload ${JSON.stringify(text)}: ${why}`, {
    hint: 'write it as --workload deploy=sub=repo:example/app:ref:refs/heads/main',
  })
}
