import fc from 'fast-check'
import { expect, it } from 'vitest'
import { base, cache, dedupe, retry, stack, timeout } from '../../../src/index.js'
import { prometheus } from '../../../src/telemetry/index.js'
import { parsePrometheus, sumOf } from '../../support/prometheus-text.js'
import { upstreamError } from '../../support/upstream.js'

/** A call: what it asks, when its caller leaves, and whether it has a stack of its own around it. */
const call = fc.record({
  prompt: fc.integer({ min: 0, max: 3 }),
  leavesAfter: fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined }),
  nests: fc.boolean(),
})
const turns = async (count: number) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

it('tokens are counted once per production, with cache hits, joined calls, departures and nested stacks', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(call, { minLength: 1, maxLength: 12 }),
      fc.array(fc.record({ takes: fc.integer({ min: 0, max: 3 }), fails: fc.boolean() }), {
        maxLength: 20,
      }),
      async (calls, fates) => {
        let produced = 0
        let begun = 0
        const upstream = async (prompt: number) => {
          const { takes = 0, fails = false } = fates[begun++] ?? {}
          await turns(takes)
          if (fails) throw upstreamError('SERVER')
          produced += prompt + 1
          return { prompt }
        }
        const usage = (answer: unknown) => ({
          input: (answer as { prompt: number }).prompt + 1,
          output: 0,
        })
        const ask = stack(
          base(upstream, { usage }),
          cache(),
          dedupe(),
          retry({ minDelayMs: 0, retries: 1, budget: false }),
          timeout({ ms: 60_000 }),
        )
        const around = stack(ask, retry({ retries: 0 }))
        const inner = prometheus(ask)
        const outer = prometheus(around)
        await Promise.allSettled(
          calls.map(async ({ prompt, leavesAfter, nests }) => {
            const caller = new AbortController()
            const answer = (nests ? around : ask)(prompt, { signal: caller.signal })
            if (leavesAfter !== undefined) void turns(leavesAfter).then(() => caller.abort())
            return answer
          }),
        )
        // Work that nobody waits for any more ends by itself.
        await turns(10)
        const sum = (name: string, labels?: Record<string, string>) =>
          sumOf(parsePrometheus(inner.text()), name, labels)
        expect(sum('blossom_tokens_total', { direction: 'input' })).toBe(produced)
        expect(sum('blossom_attempts_total')).toBe(begun)
        expect(sum('blossom_calls_total')).toBe(calls.length)
        // The stack around has none of its own.
        const texts = parsePrometheus(outer.text())
        expect(sumOf(texts, 'blossom_tokens_total')).toBe(0)
        expect(sumOf(texts, 'blossom_calls_total')).toBe(calls.filter(({ nests }) => nests).length)
        await around.close()
        await ask.close()
      },
    ),
    { numRuns: 150 },
  )
})
