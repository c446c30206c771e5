import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { TarEntry } from './tar.ts'

/**
 * What a program needs around it to run in an otherwise empty file system: the Node binary, the shared
 * libraries it names, and the few files of /etc that resolving names takes. No shell, no package manager.
 */

export const NODE_PATH = 'usr/local/bin/node'
/** The user that the image runs as, "nonroot" by custom. */
export const USER_ID = 65_532

/** Loaded by name at run time, so no program lists them; newer C libraries have them built in. */
const NAME_SERVICE_LIBRARIES = ['libnss_dns.so.2', 'libnss_files.so.2', 'libresolv.so.2']

/** The files of the lower layer. @throws Error when this machine is not Linux or a library is missing */
export async function runtimeFiles(nodeBinary: string): Promise<TarEntry[]> {
  const libraries = await sharedLibraries(nodeBinary)
  const files = libraries.map(async (path) => ({
    path: path.slice(1),
    content: await readFile(path),
    mode: 0o755,
  }))
  const node = { path: NODE_PATH, content: await readFile(nodeBinary), mode: 0o755 }
  return [node, ...(await Promise.all(files)), ...accountFiles()]
}

/** The paths of all libraries that the dynamic linker loads for a program, and of the linker itself. */
async function sharedLibraries(program: string): Promise<string[]> {
  if (process.platform !== 'linux')
    throw new Error(
      'the image is made of this machine’s own libraries: run this on Linux, or use the Dockerfile',
    )
  const { stdout } = await promisify(execFile)('ldd', [program])
  const paths = parseLdd(stdout)
  const libc = paths.find((path) => path.endsWith('/libc.so.6'))
  const besideLibc = NAME_SERVICE_LIBRARIES.map((name) => join(dirname(libc ?? '/lib'), name))
  const present = await Promise.all(besideLibc.map(isReadable))
  return [...paths, ...besideLibc.filter((_, index) => present[index])]
}

/** The absolute paths in what `ldd` prints. @throws Error for a library that is not found */
export function parseLdd(output: string): string[] {
  return output.split('\n').flatMap((line) => {
    if (line.includes('not found')) throw new Error(`a shared library is missing: ${line.trim()}`)
    const path = /(?:=> )?(\/\S+) \(0x[0-9a-f]+\)$/.exec(line.trim())?.[1]
    return path === undefined ? [] : [path]
  })
}

function accountFiles(): TarEntry[] {
  const text = (path: string, content: string) => ({ path, content: Buffer.from(content) })
  return [
    text('etc/passwd', `nonroot:x:${USER_ID}:${USER_ID}:nonroot:/nonexistent:/nonexistent\n`),
    text('etc/group', `nonroot:x:${USER_ID}:\n`),
    text('etc/nsswitch.conf', 'hosts: files dns\n'),
  ]
}

function isReadable(path: string): Promise<boolean> {
  return readFile(path).then(
    () => true,
    () => false,
  )
}
