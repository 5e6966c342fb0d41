import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

/**
 * Runs a program of this folder in a process of its own, whose heap and resources are not mixed
 * with the test's. Gives what it printed.
 */
export async function run(
  program: string,
  ...args: string[]
): Promise<{ code: number | null; signal: string | null; out: string; said: string }> {
  const child = spawn(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', join(import.meta.dirname, program), ...args],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    },
  )
  const [out, said, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ])
  return { code, signal, out, said }
}
