import { AGENT_SECRET_KEYS } from '../access/manifest.ts'
import { type AgentConfiguration, readConfiguration } from './configuration.ts'

/**
 * The configuration as the kubelet mounts it, one file for each key of Secret `mcm-agent`.
 * `readFileIfAny` gives undefined for a file that is not there. @throws StateError
 * MCM_STATE_DAMAGED
 */
export async function readMountedConfiguration(
  directory: string,
  readFileIfAny: (path: string) => Promise<string | undefined>,
): Promise<AgentConfiguration> {
  const files = new Map<string, string>()
  for (const key of Object.values(AGENT_SECRET_KEYS)) {
    const text = await readFileIfAny(`${directory}/${key}`)
    if (text !== undefined) files.set(key, text)
  }
  return readConfiguration(files)
}
