import type { Bench, Contenders } from './bench.js'
import { chatRequest } from './contenders/contender.js'
import { JOINED, NODE, REPLAYED } from './contenders/names.js'
import { bodyBy, makePool } from './contenders/undici.js'
import { type GatewayProcess, gatewayNames, startGateway } from './gateway-process.js'
import { freshPrompt, keepGoing, rated } from './load.js'
import { CPU, type Sample } from './table.js'
import { PIECE, PIECES } from './upstream-answers.js'
import { startUpstream, type Upstream } from './upstream-process.js'

/** Streams at a time: each sends a chunk a packet, or all it has at once. */
const PACED = 100
const FLOOD = 16
const JOINERS = 16
/** A stream begins after so long, when all of its joiners are there. */
const TOGETHER_MS = 50
/** The chunks with the role and with the finish reason are work, too. */
const CHUNKS = PIECES + 2

/** A gateway and a client of it that costs as little as a client can. */
class Target {
  readonly #gateway: GatewayProcess
  readonly #pool: ReturnType<typeof makePool>
  readonly #ask: ReturnType<typeof bodyBy>

  constructor(gateway: GatewayProcess) {
    this.#gateway = gateway
    this.#pool = makePool(gateway.origin, PACED)
    this.#ask = bodyBy(this.#pool)
  }

  /** One stream from its start to its end. Returns the number of chunks. */
  async stream(prompt: string): Promise<number> {
    const body = await this.#ask({ ...chatRequest(prompt), stream: true })
    const pieces = body.split(JSON.stringify(PIECE)).length - 1
    if (pieces !== PIECES || !body.includes('[DONE]'))
      throw new Error(`It streamed ${pieces} pieces of ${PIECES}: ${body.slice(-300)}`)
    return CHUNKS
  }

  /** `prompts` at the same time. */
  async together(prompts: readonly string[]): Promise<number> {
    const counts = await Promise.all(prompts.map((prompt) => this.stream(prompt)))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  /** What a chunk costs the gateway's process. */
  async cost(load: () => Promise<number>): Promise<Sample> {
    const { value, more } = await rated(load, this.#gateway.cpu)
    return { value: more[CPU], more: { 'chunks/s': value } }
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
    this.#gateway.close()
  }
}

const listOf = (count: number, prompt: () => string) => Array.from({ length: count }, prompt)
const paced = () => `${freshPrompt()}, paced`
/** The same prompt for all joiners. */
const joined = (prompt: string) => listOf(JOINERS, () => prompt)

/** Runs `load`, and fails unless `streams` of it share each request that went upstream. */
async function sharing(
  upstream: Upstream,
  streams: number,
  load: () => Promise<number>,
): Promise<number> {
  const before = (await upstream.seen()).requests
  const chunks = await load()
  const sent = (await upstream.seen()).requests - before
  const expected = chunks / CHUNKS / streams
  if (sent !== expected) throw new Error(`${sent} requests went upstream, not ${expected}.`)
  return chunks
}

type Costs = (load: (target: Target) => Promise<number>) => Contenders

/** As people read: many streams, a chunk now and then. */
async function pacedStreams(bench: Bench, upstream: Upstream, ours: Target, costs: Costs) {
  const title = `${PACED} streams, one chunk a packet, each ${bench.quick ? 1 : 20} ms`
  const groups = () => listOf(Math.floor(PACED / JOINERS), paced).flatMap(joined)
  await bench.table('paced', `CPU of the gateway a chunk, ${title}`, 'µs', {
    ...costs((target) => target.together(listOf(PACED, paced))),
    [JOINED]: () => ours.cost(() => sharing(upstream, JOINERS, () => ours.together(groups()))),
  })
}

/** As fast as it goes: ten chunks a packet, or all at once where they are there. */
async function floods(bench: Bench, upstream: Upstream, ours: Target, costs: Costs) {
  const ms = bench.ms(1_000)
  const known = freshPrompt()
  const replay = () => keepGoing(FLOOD, ms, () => ours.stream(known))
  const join = () =>
    keepGoing(1, ms, () => ours.together(joined(`${freshPrompt()}, latency=${TOGETHER_MS}`)))
  await bench.table('flood', `CPU of the gateway a chunk, ${FLOOD} streams at once`, 'µs', {
    ...costs((target) => flood(target, ms)),
    [REPLAYED]: async () => {
      // Each round anew: the other rounds' prompts may have taken its place in the cache.
      await ours.stream(known)
      return ours.cost(() => sharing(upstream, Number.POSITIVE_INFINITY, replay))
    },
    [JOINED]: () => ours.cost(() => sharing(upstream, JOINERS, join)),
  })
}

const flood = (target: Target, ms: number) =>
  keepGoing(FLOOD, ms, () => target.stream(freshPrompt()))

/**
 * What a chunk of a stream costs the gateway, in CPU time of its own process, beside a pipe that
 * copies bytes.
 */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream({ paceMs: bench.quick ? 1 : 20 })
  const targets: Record<string, Target> = {}
  try {
    bench.progress('starting the gateways')
    for (const name of gatewayNames)
      targets[name] = new Target(await startGateway(name, upstream.origin))
    const costs: Costs = (load) =>
      Object.fromEntries(
        Object.entries(targets).map(([name, target]) => [
          name,
          () => target.cost(() => load(target)),
        ]),
      )
    for (const [name, target] of Object.entries(targets)) {
      bench.progress(`warming up, ${name}`)
      await flood(target, bench.ms(4_000))
    }
    const ours = targets[NODE] as Target
    await pacedStreams(bench, upstream, ours, costs)
    await floods(bench, upstream, ours, costs)
  } finally {
    for (const target of Object.values(targets)) await target.close()
    upstream.close()
  }
}
