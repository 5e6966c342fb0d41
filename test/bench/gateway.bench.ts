import type { Bench } from './bench.js'
import { works } from './contenders/all.js'
import { type Contender, proveCalls, proven } from './contenders/contender.js'
import { DIRECT, PORTKEY } from './contenders/names.js'
import { undiciRequest } from './contenders/undici.js'
import { type GatewayProcess, gatewayNames, startGateway } from './gateway-process.js'
import { type CpuClock, perSecond, typical } from './load.js'
import { type Portkey, startPortkey } from './portkey.js'
import { startUpstream } from './upstream-process.js'

const CALLS = 32

interface Target {
  readonly client: Contender
  /** Not known where the process is not ours, or there is none. */
  readonly cpu: CpuClock
}
const unknown = () => Number.NaN

/** Portkey's gateway as a target; undefined when it cannot take part. */
async function portkeyTarget(
  bench: Bench,
  portkey: Portkey,
  upstream: string,
): Promise<Target | undefined> {
  if ('missing' in portkey) return void bench.leaveOut(portkey.missing)
  const client = undiciRequest(portkey.origin, CALLS, {
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `${upstream}/v1`,
    authorization: 'Bearer sk_bench',
  })
  try {
    await proveCalls(client)
    return { client, cpu: unknown }
  } catch (error) {
    await client.close()
    return void bench.leaveOut(`${PORTKEY} is left out: ${(error as Error).message}`)
  }
}

/** What a gateway adds to a call: each in a process between the same client and upstream. */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream()
  const gateways: GatewayProcess[] = []
  bench.progress('starting the gateways')
  const portkey = await startPortkey(!bench.quick)
  const targets: Record<string, Target> = {}
  try {
    const direct = await proven(undiciRequest, upstream.origin, CALLS)
    targets[DIRECT] = { client: direct, cpu: unknown }
    for (const name of gatewayNames) {
      const gateway = await startGateway(name, upstream.origin)
      gateways.push(gateway)
      const client = await proven(undiciRequest, gateway.origin, CALLS)
      targets[name] = { client, cpu: gateway.cpu }
    }
    const last = await portkeyTarget(bench, portkey, upstream.origin)
    if (last !== undefined) targets[PORTKEY] = last

    const ms = bench.ms(400)
    const calls = ({ client, cpu }: Target, forMs = ms) =>
      perSecond(CALLS, forMs, works.call(client), cpu)
    const latency = async ({ client }: Target) => ({
      value: await typical(ms, works.latency(client)),
    })
    for (const [name, target] of Object.entries(targets)) {
      bench.progress(`warming up, ${name}`)
      await calls(target, bench.ms(4_000))
    }
    const each = <T>(measure: (target: Target) => T) =>
      Object.fromEntries(
        Object.entries(targets).map(([name, target]) => [name, () => measure(target)]),
      )
    await bench.table('latency', 'one JSON call after the other', 'ms', each(latency))
    await bench.table('calls', `JSON calls, ${CALLS} at a time`, 'calls/s', each(calls))
  } finally {
    for (const { client } of Object.values(targets)) await client.close()
    for (const gateway of gateways) gateway.close()
    if ('close' in portkey) portkey.close()
    upstream.close()
  }
}
