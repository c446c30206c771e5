/** Kubeconfigs as text. */

/** The file itself: it may hold a key, and was asked for. */
export function viewKubeconfigText({ kubeconfig }: { readonly kubeconfig: string }): string {
  return kubeconfig
}

export interface KubeconfigChange {
  readonly file: string
  readonly contexts: readonly string[]
  readonly removed: readonly string[]
  readonly isChanged: boolean
}

export function viewKubeconfigChange(change: KubeconfigChange): string {
  const { file, contexts, removed, isChanged } = change
  if (removed.length > 0) return `removed from ${file}: ${removed.join(', ')}\n`
  if (contexts.length === 0) return `${file}: nothing of mcm to change\n`
  const first = `try: kubectl --context ${contexts[0]} get pods\n`
  return `${isChanged ? 'written' : 'unchanged'}: ${file}\n${contexts.map((name) => `  ${name}\n`).join('')}${first}`
}
