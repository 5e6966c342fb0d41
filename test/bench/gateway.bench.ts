import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Bench } from './bench.js'
import { works } from './contenders/all.js'
import { type Contender, proveCalls, proven, proveStreams } from './contenders/contender.js'
import { DIRECT, HONO, NODE, PIPE, PORTKEY } from './contenders/names.js'
import { undiciRequest } from './contenders/undici.js'
import { perSecond, typical } from './load.js'
import { startPortkey } from './portkey.js'
import { startUpstream } from './upstream-process.js'

const CALLS = 32
const STREAMS = 16

/** Without the CPU time, which is this process's and not the gateway's. */
async function rate(width: number, ms: number, work: () => Promise<number>): Promise<number> {
  const sample = await perSecond(width, ms, work)
  return typeof sample === 'number' ? sample : sample.value
}

/**
 * What a gateway costs: each in a process of its own between the same client and the same upstream.
 */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream()
  const children: ChildProcess[] = []
  const start = async (kind: string): Promise<string> => {
    const child = fork(join(import.meta.dirname, 'gateway-server.js'), [kind, upstream.origin], {
      execArgv: [],
    })
    children.push(child)
    const [port] = await once(child, 'message')
    return `http://127.0.0.1:${port}`
  }
  bench.progress('starting the gateways')
  const portkey = await startPortkey(!bench.quick)
  const clients: Record<string, Contender> = {}
  try {
    const origins: Record<string, string> = {
      [DIRECT]: upstream.origin,
      [PIPE]: await start('pipe'),
      [NODE]: await start('node'),
      [HONO]: await start('hono'),
    }
    for (const [name, origin] of Object.entries(origins))
      clients[name] = await proven(undiciRequest, origin, CALLS)
    if ('missing' in portkey) bench.leaveOut(portkey.missing)
    else {
      const headers = {
        'x-portkey-provider': 'openai',
        'x-portkey-custom-host': `${upstream.origin}/v1`,
        authorization: 'Bearer sk_bench',
      }
      const client = undiciRequest(portkey.origin, CALLS, headers)
      try {
        await proveCalls(client)
        clients[PORTKEY] = client
      } catch (error) {
        bench.leaveOut(`${PORTKEY} is left out: ${(error as Error).message}`)
      }
    }
    const turns = (measure: (client: Contender) => Promise<number>) =>
      Object.fromEntries(
        Object.entries(clients).map(([name, client]) => [name, () => measure(client)]),
      )
    const { latency, call, stream } = works
    const ms = bench.ms(400)
    const warmUp = async (width: number, works: (client: Contender) => () => Promise<number>) => {
      for (const [name, client] of Object.entries(clients)) {
        bench.progress(`warming up, ${name}`)
        await rate(width, bench.ms(4_000), works(client))
      }
    }
    await warmUp(CALLS, call)
    await bench.table(
      'latency',
      'one JSON call after the other',
      'ms',
      5,
      turns((client) => typical(ms, latency(client))),
    )
    await bench.table(
      'calls',
      `JSON calls, ${CALLS} at a time`,
      'calls/s',
      5,
      turns((client) => rate(CALLS, ms, call(client))),
    )
    const last = clients[PORTKEY]
    // With some versions of Node its streams are answered with 500: it writes into headers that
    // fetch() has sealed.
    const failed = last && (await proveStreams(last).catch((error: Error) => error))
    if (failed) {
      delete clients[PORTKEY]
      await last.close()
      bench.leaveOut(`${PORTKEY} is left out of the streams: ${failed.message}`)
    }
    await warmUp(STREAMS, stream)
    await bench.table(
      'streams',
      `chunks of streams, ${STREAMS} at a time`,
      'chunks/s',
      5,
      turns((client) => rate(STREAMS, ms, stream(client))),
    )
  } finally {
    for (const client of Object.values(clients)) await client.close()
    for (const child of children) child.disconnect()
    if ('close' in portkey) portkey.close()
    upstream.close()
  }
}
