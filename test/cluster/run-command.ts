import { execFile } from 'node:child_process'

export interface CommandResult {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

/** The system's own tools are not on everybody's PATH, not even on every root's. */
export const TOOL_PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`

/** Runs a command here to its end; a failure is a result. */
export function runCommand(command: string, args: readonly string[]): Promise<CommandResult> {
  const options = { maxBuffer: 64 << 20, env: { ...process.env, PATH: TOOL_PATH } }
  return new Promise((resolve) => {
    execFile(command, args, options, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : 127
      resolve({ stdout, stderr: stderr || (exitCode === 127 ? String(error) : ''), exitCode })
    })
  })
}
