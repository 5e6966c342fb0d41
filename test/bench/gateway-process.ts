import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { HONO, HONO_PIPE, NODE, PIPE } from './contenders/names.js'
import type { CpuClock } from './load.js'

export interface GatewayProcess {
  readonly origin: string
  /** The CPU time of the gateway's process. */
  readonly cpu: CpuClock
  close(): void
}

const kinds = { [PIPE]: 'pipe', [NODE]: 'node', [HONO_PIPE]: 'hono-pipe', [HONO]: 'hono' } as const

/** Our gateways and the pipes beside them, each in a process of its own. */
export const gatewayNames = Object.keys(kinds) as (keyof typeof kinds)[]

export async function startGateway(
  name: keyof typeof kinds,
  upstream: string,
): Promise<GatewayProcess> {
  const program = join(import.meta.dirname, 'gateway-server.js')
  const child = fork(program, [kinds[name], upstream], { execArgv: [] })
  const next = async () => ((await once(child, 'message')) as [number])[0]
  const port = await next()
  return {
    origin: `http://127.0.0.1:${port}`,
    cpu() {
      const answer = next()
      child.send('cpu')
      return answer
    },
    close: () => child.disconnect(),
  }
}
