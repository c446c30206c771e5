/** The two images every node has, made of the machine's own static busybox: pause, and a shell. */
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeImageTar } from './image-tar.ts'
import { runCommand } from './run-command.ts'

export const PAUSE_IMAGE = 'mcm.test/pause:1'
export const SHELL_IMAGE = 'mcm.test/shell:1'

const FOREVER = ['/bin/sleep', '2147483647']
/** As process 1 a plain sleep would ignore SIGTERM, and every deletion take its whole grace period. */
const UNTIL_TERMINATED = ['/bin/sh', '-c', 'trap exit TERM; sleep 2147483647 & wait']

/**
 * Writes both archives into `directory` and returns their paths.
 * @throws Error when busybox is missing or tar fails
 */
export async function writePodImages(directory: string, busybox: string): Promise<string[]> {
  const rootDirectory = await mkdtemp(join(tmpdir(), 'mcm-test-image-root-'))
  try {
    await fillRoot(rootDirectory, busybox)
    const Env = ['PATH=/bin']
    const images = [
      { file: 'pause.tar', name: PAUSE_IMAGE, config: { Env, Entrypoint: FOREVER } },
      { file: 'shell.tar', name: SHELL_IMAGE, config: { Env, Cmd: UNTIL_TERMINATED } },
    ]
    for (const { file, name, config } of images) {
      await writeImageTar({ path: join(directory, file), name, rootDirectory, config })
    }
    return images.map(({ file }) => join(directory, file))
  } finally {
    await rm(rootDirectory, { recursive: true, force: true })
  }
}

async function fillRoot(root: string, busybox: string): Promise<void> {
  for (const folder of ['bin', 'etc', 'tmp', 'home']) await mkdir(join(root, folder))
  await chmod(root, 0o755)
  await chmod(join(root, 'tmp'), 0o1777)
  await copyFile(busybox, join(root, 'bin', 'busybox'))
  const { stdout } = await runCommand(busybox, ['--list'])
  const applets = stdout.split('\n').filter((name) => name !== '' && name !== 'busybox')
  for (const applet of applets) await symlink('busybox', join(root, 'bin', applet))
  const passwd = 'root:x:0:0:root:/home:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/sh\n'
  await writeFile(join(root, 'etc', 'passwd'), passwd)
}
