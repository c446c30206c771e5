/**
 * `npm run bench`: the numbers we promise, measured one after the other against the same thing done
 * without mcm, and printed as one table with our aims beside. Each file also runs alone.
 */
import { distance } from './distance.ts'
import { hubCpu } from './hub-cpu.ts'
import { idleTunnels } from './idle-tunnels.ts'
import { runAll } from './report.ts'
import { requests } from './requests.ts'
import { startUp } from './start-up.ts'
import { streams } from './streams.ts'

await runAll([startUp, requests, idleTunnels, hubCpu, streams, distance])
