import { unverifiedTokenEnd } from '../client/token-end.ts'
import type { ShownToken } from '../protocol/messages.ts'
import type { Device } from './device.ts'
import { ID_TOKEN } from './home.ts'
import type { DeviceState } from './state.ts'

/**
 * What an agent is shown beside the proof of the device key; undefined for who was invited, and when the token is
 * over: an agent that has judged it goes by that.
 */
export async function tokenToShow(
  device: Device,
  { provided, device: { name } }: DeviceState,
): Promise<ShownToken | undefined> {
  if (!provided) return undefined
  const token = (await device.secrets.get(ID_TOKEN))?.reveal()
  const end = token === undefined ? undefined : unverifiedTokenEnd(token)
  if (token === undefined || end === undefined || end <= device.world.now()) return undefined
  return { token, salt: provided.salt, name }
}
