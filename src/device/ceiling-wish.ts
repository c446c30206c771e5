import { basename, extname } from 'node:path'
import { z } from 'zod'
import { type Ceiling, ceilingRole } from '../access/ceiling.ts'
import {
  CEILINGS,
  type CeilingName,
  ceilingNames,
  presetCeiling,
} from '../access/preset-ceiling.ts'
import { UsageError } from '../errors.ts'
import type { KubeconfigFiles } from '../kubeconfig/file.ts'
import { readDocument } from '../kubeconfig/yaml.ts'

/** Which ceiling an owner asks for: by name, several names together, or rules in a file of their own. */
export type CeilingWish = { readonly names: readonly CeilingName[] } | { readonly own: Ceiling }

const names = z.array(z.string())
const rule = z.union([
  z.strictObject({
    apiGroups: names.min(1),
    resources: names.min(1),
    resourceNames: names.optional(),
    verbs: names.min(1),
  }),
  z.strictObject({ nonResourceURLs: names.min(1), verbs: names.min(1) }),
])
const fileSchema = z.looseObject({ rules: z.array(rule).min(1) })

/**
 * Reads what stands after `--ceiling`: `none`, names with commas between, or the path of a YAML or JSON file
 * with `rules:` in the form of a ClusterRole, which say what is allowed.
 * @throws UsageError MCM_BAD_FILE, or MCM_USAGE for neither a name nor a file
 */
export async function readCeilingWish(
  text: string,
  files: Pick<KubeconfigFiles, 'readTextIfAny'>,
): Promise<CeilingWish> {
  const known = ceilingNames(text)
  if (known) return { names: known }
  const content = await files.readTextIfAny(text)
  if (content === undefined)
    throw new UsageError('MCM_USAGE', `${JSON.stringify(text)} is no ceiling and no file`, {
      hint: `use none, ${CEILINGS.join(', ')} (several with commas), or a file with rules`,
    })
  const parsed = fileSchema.safeParse(readDocument(content, text).toJS())
  if (!parsed.success) throw badFile(text, parsed.error)
  const own = { name: basename(text, extname(text)), rules: parsed.data.rules.map(defined) }
  // What RBAC could not hold is said now, before anything is put into a cluster.
  ceilingRole(own)
  return { own }
}

/** The ceiling itself. `customGroups`: API groups of the cluster's custom resources. */
export function ceilingOf(wish: CeilingWish, customGroups: readonly string[]): Ceiling {
  return 'own' in wish ? wish.own : presetCeiling(wish.names, customGroups)
}

function defined<T extends object>(object: T): T {
  return JSON.parse(JSON.stringify(object)) as T
}

function badFile(name: string, { issues }: z.ZodError): UsageError {
  const [issue] = issues
  const where = issue?.path.join('.') || 'the document'
  return new UsageError(
    'MCM_BAD_FILE',
    `${name} is no ceiling: ${where}: ${issue?.message ?? 'not understood'}`,
    {
      hint: 'rules: [{apiGroups: [""], resources: [pods], verbs: [get, list, watch]}] allows reading pods and nothing else',
    },
  )
}
