import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import {
  type LocalBlossom,
  type LocalBlossomOptions,
  startLocalBlossom,
} from 'blossom-stack/testing'
import { onTestFinished } from 'vitest'

export const FRAMEWORKS = ['express', 'koa', 'hono']
/** The examples that serve the gateway. */
export const EXAMPLES = [...FRAMEWORKS, 'node-http', 'fastify', 'nest']

export const post = (url: string, body: object, init?: RequestInit) =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...init,
  })

/** An upstream for the time of a test. */
export async function upstreamFor(options?: LocalBlossomOptions): Promise<LocalBlossom> {
  const upstream = await startLocalBlossom(options)
  onTestFinished(() => upstream.close())
  return upstream
}

/** An example or the demo as a process of its own, which does not outlive the test. */
export function run(args: readonly string[], env: NodeJS.ProcessEnv) {
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, args, {
    cwd: join(import.meta.dirname, '../..'),
    env: { PATH, HOME, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const running = {
    child,
    output: '',
    exit: once(child, 'close') as Promise<[number | null, string | null]>,
  }
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => {
      running.output += text
    })
  }
  onTestFinished(() => end(child))
  return running
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}
