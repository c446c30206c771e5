import packageManifest from '../package.json' with { type: 'json' }
import { plainClusterArgument } from './credential/exec-credential.ts'
import { runCredential } from './credential/plugin.ts'

/** What must start at once, without the command framework: `mcm credential` and `mcm --version`. */
export async function main(argv: string[], entry: string): Promise<void> {
  const [first, ...rest] = argv
  if (first === '--version') {
    const { name, version } = packageManifest
    process.stdout.write(
      `${name}/${version} ${process.platform}-${process.arch} node-${process.version}\n`,
    )
  } else if (plainClusterArgument(rest) !== undefined) {
    process.exitCode = await runCredential(rest, process.env, process)
  } else {
    const { main } = await import('./main.ts')
    await main(argv, entry)
  }
}
