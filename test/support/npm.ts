import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Installs packages and does nothing else: no scripts, no audit, no advertisements. */
export const QUIETLY = ['--ignore-scripts', '--no-audit', '--no-fund']

/**
 * Runs npm and returns what it printed.
 * @throws when npm fails, with what it complained about
 */
export async function npm(args: readonly string[], cwd = process.cwd()): Promise<string> {
  const cli = process.env.npm_execpath
  const options = { cwd, maxBuffer: 16 * 1024 * 1024 }
  const { stdout } =
    cli !== undefined && /\.c?js$/.test(cli)
      ? await run(process.execPath, [cli, ...args], options)
      : await run('npm', [...args], { ...options, shell: process.platform === 'win32' })
  return stdout
}
