import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Seen, UpstreamOptions } from './upstream-answers.js'

export interface Upstream {
  readonly origin: string
  seen(): Promise<Seen>
  close(): void
}

/** Starts an upstream in another process. */
export async function startUpstream(options: UpstreamOptions = {}): Promise<Upstream> {
  const child = fork(join(import.meta.dirname, 'upstream.js'), [JSON.stringify(options)], {
    execArgv: [],
  })
  const [port] = (await once(child, 'message')) as [number]
  return {
    origin: `http://127.0.0.1:${port}`,
    async seen() {
      const answer = once(child, 'message')
      child.send('seen')
      const [seen] = (await answer) as [Seen]
      return seen
    },
    close: () => child.disconnect(),
  }
}
