import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { sleep } from './load.js'

const PACKAGE = '@portkey-ai/gateway'
/** Not a dependency of the project: its install would run a script. */
const prefix = join(tmpdir(), 'blossom-stack-bench')
const program = join(prefix, 'node_modules', PACKAGE, 'build', 'start-server.js')

/** Where the gateway listens, or why it takes no part. */
export type Portkey = { readonly origin: string; close(): void } | { readonly missing: string }

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/**
 * `mayInstall`: whether the registry may be asked when the gateway is not there from an earlier
 * run.
 */
export async function startPortkey(mayInstall: boolean): Promise<Portkey> {
  if (!existsSync(program)) {
    if (!mayInstall)
      return {
        missing: `${PACKAGE} is left out: it is not there yet, and a quick run installs nothing.`,
      }
    try {
      const args = [
        'install',
        '--ignore-scripts',
        '--no-save',
        '--no-audit',
        '--no-fund',
        '--prefix',
        prefix,
        PACKAGE,
      ]
      await promisify(execFile)('npm', args, { cwd: tmpdir(), timeout: 120_000 })
    } catch {
      return { missing: `${PACKAGE} is left out: the npm registry could not be reached.` }
    }
  }
  const port = await freePort()
  const child: ChildProcess = spawn(process.execPath, [program, '--headless', `--port=${port}`], {
    cwd: prefix,
    stdio: 'ignore',
    env: { PATH: process.env.PATH, NODE_ENV: 'production' },
  })
  process.once('exit', () => child.kill())
  const origin = `http://127.0.0.1:${port}`
  for (const until = performance.now() + 15_000; performance.now() < until; await sleep(50)) {
    if (child.exitCode !== null) break
    const ready = await fetch(origin).then(
      ({ ok }) => ok,
      () => false,
    )
    if (ready) return { origin, close: () => child.kill() }
  }
  child.kill()
  return { missing: `${PACKAGE} is left out: it did not start.` }
}
