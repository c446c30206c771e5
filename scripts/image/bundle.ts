import { build } from 'esbuild'

/**
 * One program with everything it imports in one file, as an ES module.
 * @throws Error of esbuild when it cannot be bundled
 */
export async function bundleProgram(entry: string, root: string): Promise<Buffer> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    // Imported only when used, and never in a pod: there is no keychain, and the service account is no kubeconfig.
    external: ['keytar', '@kubernetes/client-node'],
    // Bundled CommonJS packages call require() for Node's own modules.
    banner: {
      js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url);",
    },
    logLevel: 'warning',
  })
  return Buffer.from(outputFiles[0]!.contents)
}
