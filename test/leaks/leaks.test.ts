import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { createBlossom } from '../../src/client/index.js'
import { stack } from '../../src/core/index.js'
import { batcher } from '../../src/layers/batcher/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import { chunkSource, startLocalBlossom } from '../../src/testing/index.js'
import { run } from './child.js'

const MIB = 1024 * 1024

describe('stack', () => {
  it('leaves no listener on a signal that 10,000 calls have shared, and never more than a warning allows', async () => {
    const warnings: string[] = []
    const onWarning = ({ name }: Error) => warnings.push(name)
    process.on('warning', onWarning)
    const { signal } = new AbortController()
    const ask = stack(
      async (request: string): Promise<unknown> => {
        if (request.startsWith('fail')) throw new Error('the function failed')
        await null
        return request.startsWith('stream') ? chunkSource([1, 2, 3]) : request
      },
      cache({ maxEntries: 10 }),
      dedupe(),
      timeout({ ms: 60_000 }),
      retry({ retries: 1, minDelayMs: 0 }),
      // So many failures would open it.
      breaker({ counts: () => false }),
      queue({ concurrency: 100, maxWaiting: 10_000 }),
      pool({ connections: 100, maxWaiting: 10_000 }),
    )
    const merged = stack(async (inputs: number[]) => inputs, batcher({ maxDelayMs: 0 }))
    let most = 0
    const call = async (i: number) => {
      const kind = ['answer', 'stream', 'left', 'fail', 'merged'][i % 5]
      if (kind === 'merged') return merged([i], { signal })
      const answer = await ask(`${kind === 'left' ? 'stream' : kind} ${i}`, { signal })
      most = Math.max(most, getEventListeners(signal, 'abort').length)
      if (typeof answer === 'string') return answer
      for await (const _ of answer as AsyncIterable<unknown>) if (kind === 'left') break
      return undefined
    }
    for (let begun = 0; begun < 10_000; begun += 500) {
      const settled = await Promise.allSettled(
        Array.from({ length: 500 }, (_, i) => call(begun + i)),
      )
      expect(settled.filter(({ status }) => status === 'rejected').length).toBe(100)
    }
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThanOrEqual(10)
    expect(getEventListeners(signal, 'abort')).toEqual([])
    await Promise.all([ask.close(), merged.close()])
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
  })
})

describe('close', () => {
  it('leaves no timer, socket, request or call, whatever it interrupts', async () => {
    const { code, out, said } = await run('resources.ts')
    expect(said).toBe('')
    expect(code).toBe(0)
    const left = (...codes: string[]) => ({ resources: [], active: 0, open: 0, codes })
    expect(JSON.parse(out)).toEqual({
      'after faults': left('NETWORK', 'PROTOCOL', 'SERVER', 'STREAM'),
      'after time-outs': left('TIMEOUT'),
      'after aborts': left('Error: enough'),
      'calls in the queue, in the pool and upstream': left('CLOSED'),
      'a call in back-off': left('SERVER'),
      'streams being read, not read, and stalled': left('CLOSED'),
      'a trial of a half-open breaker': left('CLOSED', 'SERVER'),
      'a breaker that stays open': left('SERVER'),
      'a renewal behind a stale hit': left(),
      'a batch that fills': left(),
    })
  }, 120_000)
})

describe('a gateway that closes', () => {
  it('leaves no timer, socket or text of resumable streams, whatever their state', async () => {
    const { code, out, said } = await run('streams.ts')
    expect(said).toBe('')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toEqual({ resources: [], waiting: 0, active: 0, bytes: 0 })
  }, 120_000)
})

describe('client', () => {
  it('listens once to a signal that many batches share', async () => {
    await using upstream = await startLocalBlossom({ latencyMs: 20 })
    const blossom = createBlossom({ baseURL: upstream.url })
    const { signal } = new AbortController()
    const batches = Array.from({ length: 12 }, (_, i) => blossom.text.batch([`${i}`], { signal }))
    const outcomes = batches.map((batch) => batch.next())
    await upstream.waitFor(({ requests }) => requests.length === 12)
    expect(getEventListeners(signal, 'abort').length).toBe(1)
    for (const outcome of await Promise.all(outcomes))
      expect(outcome.value).toMatchObject({ ok: true })
    for (const batch of batches)
      expect(await batch.next()).toEqual({ done: true, value: undefined })
    expect(getEventListeners(signal, 'abort')).toEqual([])
    await blossom.close()
  })

  it('lets its process exit when it is idle and was never closed', async () => {
    await using upstream = await startLocalBlossom()
    await using faulty = await startLocalBlossom()
    faulty.fail(503)
    const { code, signal, out, said } = await run('idle.ts', upstream.url, faulty.url)
    expect({ code, signal, out, said }).toEqual({
      code: 0,
      signal: null,
      out: 'open done\n',
      said: '',
    })
  }, 120_000)

  it('does not grow the heap over 20 rounds of 300 mostly failing calls', async () => {
    const { code, out, said } = await run('heap.ts')
    expect(said).toBe('')
    expect(code).toBe(0)
    const heaps = JSON.parse(out) as number[]
    expect(heaps.length).toBe(20)
    // The first rounds compile and fill what is bounded.
    const [early, late] = [Math.min(...heaps.slice(6, 10)), Math.min(...heaps.slice(-4))]
    expect(late, heaps.map((bytes) => (bytes / MIB).toFixed(2)).join(' ')).toBeLessThan(early * 1.1)
  }, 120_000)
})
