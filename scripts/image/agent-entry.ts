/** What the image starts: `mcm agent`, without the other commands. */
import { flush, handle } from '@oclif/core'
import Agent from '../../src/commands/agent.ts'
import { collectBuffersYoung } from '../../src/young-space.ts'

collectBuffersYoung()

try {
  await Agent.run(process.argv.slice(2), import.meta.url)
  await flush()
} catch (error) {
  await handle(error as Error)
}
