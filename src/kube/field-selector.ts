/**
 * The name a field selector fixes, or '': `metadata.name=x` (apimachinery `pkg/fields/selector.go`,
 * and the API server's `IsPathSegmentName`). A selector that cannot be read fixes none.
 */
export function exactNameOf(selector: string): string {
  const terms = splitTerms(selector)
    .filter((term) => term !== '')
    .sort()
    .map(parseTerm)
  if (terms.some((term) => term === undefined)) return ''
  const named = terms.find((term) => term?.field === 'metadata.name' && term.isEqual)
  return named && isPathSegmentName(named.value) ? named.value : ''
}

/** Comma-separated; a backslash keeps the character after it. */
function splitTerms(selector: string): string[] {
  return selector.match(/(?:\\[\s\S]|[^,\\]|\\$)+/g) ?? []
}

function parseTerm(term: string): { field: string; isEqual: boolean; value: string } | undefined {
  const match = /^([\s\S]*?)(!=|==|=)([\s\S]*)$/.exec(term)
  if (!match) return undefined
  const value = unescapeValue(match[3]!)
  return value === undefined ? undefined : { field: match[1]!, isEqual: match[2] !== '!=', value }
}

function unescapeValue(text: string): string | undefined {
  if (!/^(?:[^\\,=]|\\[\\,=])*$/.test(text)) return undefined
  return text.replace(/\\([\\,=])/g, '$1')
}

function isPathSegmentName(name: string): boolean {
  return name !== '.' && name !== '..' && !/[/%]/.test(name)
}
