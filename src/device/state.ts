import { z } from 'zod'
import { admissionSchema } from '../directory/admission.ts'
import { IdentityError } from '../errors.ts'
import { headSchema } from '../protocol/messages.ts'
import { withFileLock } from '../store/files.ts'
import type { Home } from './home.ts'
import { type JsonFile, readJsonFile, writeJsonFile } from './json-file.ts'

/** Who this device is, which fleet it belongs to, and the last head it verified: `state.json`. */

const fingerprint = z.string().regex(/^[A-Za-z0-9_-]{43}$/)

/** How a device is in that a token let in; the tokens are where the keys are. */
const provided = z.object({
  /** Name of the provider. */
  provider: z.string(),
  salt: z.string(),
  admission: admissionSchema,
  /** Of a program: what prints the next token. */
  command: z.string().optional(),
  /** It prints a token for the audience of the key. */
  isAudienceFixed: z.boolean().optional(),
})
export type ProvidedLogin = z.infer<typeof provided>

const schema = z.object({
  version: z.number(),
  fleet: fingerprint,
  user: z.string(),
  device: z.object({ id: fingerprint, name: z.string() }),
  /** Where the keys are: chosen once, so that a keychain that is silent today is an error and not a new login. */
  secrets: z.enum(['keychain', 'file']),
  /** Where the hub was at login; the directory's own word counts as soon as it has one. */
  hub: z.object({ endpoints: z.array(z.string()).min(1), pin: fingerprint }),
  /** Which of the hub's endpoints this device tries first. */
  endpoint: z.enum(['public', 'private']),
  /** Never go back behind this (PROTOCOL §3.3). */
  head: headSchema,
  /** Absent for who was invited. */
  provided: provided.optional(),
})
export type DeviceState = Omit<z.infer<typeof schema>, 'version'>

const STATE: JsonFile<z.infer<typeof schema>> = {
  version: 1,
  schema,
  remedy: 'restore it from a backup, or run mcm logout --yes and log in with a new invite',
}

/** @throws StateError MCM_STATE_DAMAGED MCM_STATE_NEWER */
export async function readState(home: Home): Promise<DeviceState | undefined> {
  const state = await readJsonFile(home.state, STATE)
  return state && { ...state }
}

/** @throws IdentityError MCM_NOT_LOGGED_IN, StateError */
export async function requireState(home: Home): Promise<DeviceState> {
  const state = await readState(home)
  if (state) return state
  throw new IdentityError('MCM_NOT_LOGGED_IN', `this device is not logged in (${home.directory})`, {
    hint: "mcm login 'mcm://…' with the link an administrator sent you (mcm invite)",
  })
}

export async function writeState(home: Home, state: DeviceState): Promise<void> {
  await writeJsonFile(home.state, STATE, { ...state, version: STATE.version })
}

/** Changes the state under its lock, from what stands there now; `before` runs inside it, first. */
export async function updateState(
  home: Home,
  change: (state: DeviceState) => DeviceState,
  options: { before?: (state: DeviceState) => Promise<void> } = {},
): Promise<DeviceState> {
  return withFileLock(home.state, async () => {
    const before = await requireState(home)
    await options.before?.(before)
    const after = change(before)
    if (after !== before) await writeState(home, after)
    return after
  })
}
