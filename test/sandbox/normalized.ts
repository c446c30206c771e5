const MADE_UP = new Set(
  'uid resourceVersion time token creationTimestamp deletionTimestamp expirationTimestamp clusterIP'.split(
    ' ',
  ),
)
/** What a build says of itself. */
const BUILD = new Set('compiler gitCommit goVersion platform'.split(' '))
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

/** An answer without what every server makes up anew. Column descriptions are prose and left out. */
export function normalized(value: unknown, key = ''): unknown {
  if (typeof value === 'string') return normalizedText(value, key)
  if (Array.isArray(value)) {
    const items = value.map((item) => normalized(item, key))
    // Some validators of the real one say a thing four times.
    if (key === 'causes') return [...new Set(items.map((item) => JSON.stringify(item)))]
    // Their order is that of their times, which fall into one second or into two.
    if (key === 'managedFields') return items.map((item) => JSON.stringify(item)).sort()
    return key.endsWith('Rules') ? items.map((item) => JSON.stringify(item)).sort() : items
  }
  if (key === 'nodePort') return '(nodePort)'
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value)
    .filter(([name]) => name !== 'description' && !BUILD.has(name))
    .sort(([left], [right]) => (left < right ? -1 : 1))
  return Object.fromEntries(entries.map(([name, item]) => [name, normalized(item, name)]))
}

function normalizedText(text: string, key: string): string {
  if (MADE_UP.has(key)) return `(${key})`
  if (key === 'clusterIPs') return '(clusterIP)'
  return text
    .replace(UUID, '(uuid)')
    .replace(/^gen-\w+$/, '(generated)')
    .replace(/\btest-admin\b|\bsandbox-admin\b/g, '(admin)')
    .replace(/current: \d+/, 'current: (revision)')
    .replace(/patch: Invalid value: "\{.*\}": /, 'patch: Invalid value: (object): ')
    .replace(/^Invalid value: "\{.*\}": /, 'Invalid value: (object): ')
    .replace(/(previously negative\))[\s\S]*/, '$1')
    .replace(/^\d+s$/, '(age)')
    .replace(/scheme \\?"pkg\S*"/, 'scheme')
}
