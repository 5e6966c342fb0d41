import { expect } from 'vitest'
import { type BlossomCallOptions, createBlossom } from '../../src/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import {
  type LocalBlossom,
  type LocalBlossomOptions,
  startLocalBlossom,
} from '../../src/testing/index.js'
import { FaultProxy } from '../support/fault-proxy.js'
import { KEY, PROMPT } from '../support/secrets.js'
import { became, tally } from './tally.js'

/** Many calls under one fault, and what must hold for all of them together. */
export interface Circle {
  readonly fault: string
  readonly ends: string
  readonly requests: string
  readonly breaker: string
  run(): Promise<void>
}

/** Bounds of a circle's layers. */
interface Limits {
  readonly concurrency?: number
  readonly resetMs?: number
  readonly failureRate?: number
  readonly retries?: number
}

export const clientOf = (
  baseURL: string,
  { concurrency = 4, resetMs = 60_000, failureRate = 0.5, retries = 2 }: Limits = {},
) =>
  createBlossom({ baseURL, apiKey: KEY }).use(
    cache(),
    dedupe(),
    timeout({ ms: 60_000 }),
    retry({ retries, minDelayMs: 1, maxDelayMs: 2 }),
    breaker({ resetMs, failureRate }),
    queue({ concurrency }),
    timeout({ name: 'attempt', ms: 30_000 }),
    pool({ connections: concurrency }),
  )
export type Client = ReturnType<typeof clientOf>

/** `answer`, or the code of what went wrong. */
type Ended = string

let asked = 0
/** One call with a prompt of its own, whose answer must be true. */
export async function ask(
  { text: { generate } }: Pick<Client, 'text'>,
  options: BlossomCallOptions = {},
): Promise<Ended> {
  const prompt = `${PROMPT} number ${asked++}`
  tally.calls++
  try {
    const { text } = await generate(prompt, options)
    expect(text).toContain(prompt)
    return 'answer'
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === undefined) throw error
    return code
  } finally {
    tally.settled++
  }
}

/** So many calls, one after the other by each of so many callers. */
export async function askMany(
  blossom: Client,
  calls: number,
  callers: number,
): Promise<Record<Ended, number>> {
  const counts: Record<Ended, number> = {}
  let left = calls
  const caller = async () => {
    while (left-- > 0) {
      const ended = await ask(blossom)
      counts[ended] = (counts[ended] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
  return counts
}

/**
 * An upstream, a way to it that can fail, and a client at its other end; nothing of them may be
 * left.
 */
export async function around(
  limits: Limits & { upstream?: LocalBlossomOptions },
  run: (scene: Around) => Promise<void>,
): Promise<void> {
  tally.faults++
  await using upstream = await startLocalBlossom(limits.upstream)
  await using way = await FaultProxy.to(upstream.port)
  const blossom = clientOf(way.url, limits)
  try {
    await run({ upstream, way, blossom })
    const held = () => {
      const { queue, pool, dedupe } = blossom.stats()
      return (
        queue.running +
        queue.waiting +
        pool.active +
        pool.waiting +
        dedupe.inFlight +
        upstream.active
      )
    }
    await became(() => held() === 0)
    tally.leaked += held()
    expect(held()).toBe(0)
  } finally {
    await blossom.close({ timeoutMs: 0 })
    await became(() => way.open === 0)
    tally.leaked += way.open
    tally.requests += upstream.requests.length
  }
}
interface Around {
  readonly upstream: LocalBlossom
  readonly way: FaultProxy
  readonly blossom: Client
}
