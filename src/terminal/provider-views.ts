import type { Provider } from '../device/providers.ts'
import type { Screen } from './screen.ts'
import { renderFields } from './table.ts'

/** Identity providers as text. */

export function viewProviders(providers: readonly Provider[], _screen: Screen): string {
  if (providers.length === 0) return 'no identity provider; mcm oidc set adds one\n'
  return providers.map(viewProvider).join('\n')
}

export function viewRemovedProvider({ name, domain }: Provider): string {
  return `provider ${name} is gone, and everybody under @${domain} with it\n`
}

function viewProvider(provider: Provider): string {
  const { name, issuer, domain, people, workloads, maximumAge, hasOwnCa, link } = provider
  const groups = Object.entries(people?.groups ?? {}).map(([value, group]) => `${value} → ${group}`)
  const programs = workloads.map(({ user, claims }) => `${user} (${claimsText(claims)})`)
  return renderFields({
    provider: name,
    issuer: hasOwnCa ? `${issuer} (with a CA of its own)` : issuer,
    names: people ? `${people.userClaim} under @${domain}` : `@${domain}`,
    groups: people ? groups.join(', ') || 'none' : undefined,
    programs: programs.join(', ') || undefined,
    'client secret': people?.hasClientSecret ? 'public, as of a desktop client' : undefined,
    'a login lasts': `${maximumAge / 3600} h`,
    link,
  })
}

function claimsText(claims: Readonly<Record<string, string>>): string {
  return Object.entries(claims)
    .map(([name, value]) => `${name}=${value}`)
    .join(', ')
}
