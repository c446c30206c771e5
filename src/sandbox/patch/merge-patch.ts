/** JSON Merge Patch (RFC 7386). */
import { isJsonObject, type Json, member } from '../json.ts'

export function applyMergePatch(target: Json | undefined, patch: Json): Json {
  if (!isJsonObject(patch)) return patch
  const merged: Record<string, Json | undefined> = isJsonObject(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key]
    else if (value !== undefined) merged[key] = applyMergePatch(member(target, key), value)
  }
  return merged as Json
}
