import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { breaker, createBlossom, retry } from '../../src/index.js'
import { PROMPT } from '../support/secrets.js'
import { around, ask, askMany, type Circle, clientOf } from './many-calls-run.js'
import { became, tally } from './tally.js'

export const circles: readonly Circle[] = [
  {
    fault: 'upstream goes down, and comes back',
    ends: 'NETWORK, then BREAKER_OPEN, then answers',
    requests: 'none while it is down',
    breaker: 'opens, runs one trial, closes',
    run: () =>
      around({ resetMs: 40 }, async ({ upstream, way, blossom }) => {
        expect(await askMany(blossom, 20, 4)).toEqual({ answer: 20 })
        await way.refuse()
        const while_ = await askMany(blossom, 20, 4)
        expect(Object.keys(while_).sort()).toEqual(['BREAKER_OPEN', 'NETWORK'])
        expect(upstream.requests).toHaveLength(20)
        await way.restore()
        const since = performance.now()
        while ((await ask(blossom)) !== 'answer') {
          expect(performance.now() - since).toBeLessThan(10_000)
          await delay(5)
        }
        expect(await askMany(blossom, 20, 4)).toEqual({ answer: 20 })
        expect(blossom.stats().breaker.state).toBe('closed')
        expect(blossom.stats().breaker.opened).toBeGreaterThanOrEqual(1)
      }),
  },
  {
    fault: 'every connection breaks repeatedly, with 4 callers',
    ends: 'an answer or NETWORK; after that, answers',
    requests: 'at most 3 per call',
    breaker: 'a failure for each broken attempt',
    run: () =>
      around({ failureRate: 1, upstream: { latencyMs: 1 } }, async ({ upstream, way, blossom }) => {
        const working = askMany(blossom, 120, 4)
        for (let i = 1; i <= 6; i++) {
          await became(() => upstream.requests.length >= i * 12)
          way.cut(i % 2 === 0)
        }
        const { answer = 0, NETWORK = 0, ...others } = await working
        expect({ sum: answer + NETWORK, others }).toEqual({ sum: 120, others: {} })
        const { retry, breaker } = blossom.stats()
        expect(upstream.requests.length).toBeLessThanOrEqual(120 + retry.retries)
        expect(breaker).toMatchObject({ successes: answer, failures: 120 + retry.retries - answer })
        expect(await askMany(blossom, 8, 4)).toEqual({ answer: 8 })
      }),
  },
  {
    fault: 'every second answer is 503',
    ends: 'an answer or SERVER',
    requests: 'at most 1.2 per call, plus 10',
    breaker: 'stays closed, because the rate is not reached',
    run: () =>
      around({ failureRate: 0.9 }, async ({ upstream, blossom }) => {
        let nth = 0
        upstream.fault({
          status: 503,
          times: Number.POSITIVE_INFINITY,
          match: () => nth++ % 2 === 0,
        })
        const { answer = 0, SERVER = 0, ...others } = await askMany(blossom, 100, 4)
        expect({ sum: answer + SERVER, others }).toEqual({ sum: 100, others: {} })
        expect(upstream.requests.length).toBeLessThanOrEqual(100 * 1.2 + 10)
        expect(blossom.stats().breaker).toMatchObject({ state: 'closed', opened: 0, rejected: 0 })
      }),
  },
  {
    fault: 'every answer is 503, for 200 calls from 4 callers',
    ends: 'SERVER, then BREAKER_OPEN',
    requests: 'at most 10, plus those in progress',
    breaker: 'opens once',
    run: () =>
      around({}, async ({ upstream, blossom }) => {
        upstream.fail(503, Number.POSITIVE_INFINITY)
        const { BREAKER_OPEN = 0, SERVER = 0, ...others } = await askMany(blossom, 200, 4)
        expect({ sum: BREAKER_OPEN + SERVER, others }).toEqual({ sum: 200, others: {} })
        expect(BREAKER_OPEN).toBeGreaterThan(180)
        expect(upstream.requests.length).toBeLessThanOrEqual(10 + 4)
        expect(blossom.stats().breaker).toMatchObject({ state: 'open', opened: 1 })
      }),
  },
  {
    fault: 'upstream allows 2 calls at once, and so does the queue',
    ends: 'answers, never 429',
    requests: 'one per call',
    breaker: 'successes only',
    run: () =>
      around(
        { concurrency: 2, upstream: { concurrency: 2, latencyMs: 1 } },
        async ({ upstream, blossom }) => {
          expect(await askMany(blossom, 30, 30)).toEqual({ answer: 30 })
          expect(upstream.requests.map(({ status }) => status)).toEqual(Array(30).fill(200))
          expect(upstream.maxActive).toBeLessThanOrEqual(2)
        },
      ),
  },
  {
    fault: 'close() with one running call and 20 waiting calls',
    ends: 'CLOSED for all, and for later calls',
    requests: 'one',
    breaker: 'none',
    run: () =>
      around({ concurrency: 1 }, async ({ upstream, blossom }) => {
        upstream.fault({ hang: true })
        const working = askMany(blossom, 21, 21)
        await became(() => upstream.active === 1 && blossom.stats().queue.waiting === 20)
        const closed = blossom.close({ timeoutMs: 0 })
        expect(blossom.close()).toBe(closed)
        expect(await working).toEqual({ CLOSED: 21 })
        await closed
        expect(await ask(blossom)).toBe('CLOSED')
        expect(upstream.requests).toHaveLength(1)
        expect(blossom.stats().breaker).toMatchObject({ successes: 0, failures: 0 })
      }),
  },
  {
    fault: 'close() while a call runs, with time to finish',
    ends: 'answer',
    requests: 'one',
    breaker: 'one success',
    run: () =>
      around({ upstream: { latencyMs: 20 } }, async ({ upstream, blossom }) => {
        const working = ask(blossom)
        await became(() => upstream.active === 1)
        await blossom.close()
        expect(await working).toBe('answer')
        expect(blossom.stats().breaker.successes).toBe(1)
      }),
  },
  {
    fault: 'a network that delays every byte and passes three bytes at a time',
    ends: 'answer',
    requests: 'one per call',
    breaker: 'successes only',
    run: () =>
      around({}, async ({ upstream, way, blossom }) => {
        way.always({ delayMs: 5, splitBytes: 3 })
        expect(await askMany(blossom, 8, 4)).toEqual({ answer: 8 })
        expect(upstream.requests).toHaveLength(8)
      }),
  },
  {
    fault: 'a network that loses everything, and callers with a deadline of 150 ms',
    ends: 'TIMEOUT; after that, answers',
    requests: 'none',
    breaker: 'a failure per call',
    run: () =>
      around({}, async ({ upstream, way, blossom }) => {
        way.always({ blackHole: true })
        expect(
          await Promise.all(Array.from({ length: 4 }, () => ask(blossom, { timeoutMs: 150 }))),
        ).toEqual(Array(4).fill('TIMEOUT'))
        await became(() => way.open === 0)
        expect({ open: way.open, requests: upstream.requests.length }).toEqual({
          open: 0,
          requests: 0,
        })
        expect(blossom.stats().breaker).toMatchObject({ failures: 4, successes: 0 })
        way.always({})
        expect(await askMany(blossom, 8, 4)).toEqual({ answer: 8 })
      }),
  },
  {
    fault: 'the connection breaks during 4 streams',
    ends: 'STREAM after a correct part of the answer; after that, answers',
    requests: 'one per stream',
    breaker: 'a failure per call',
    run: () =>
      around({ upstream: { words: 400, chunkDelayMs: 2 } }, async ({ upstream, way, blossom }) => {
        const texts = ['', '', '', '']
        const read = async (i: number) => {
          tally.calls++
          try {
            for await (const { text } of await blossom.text.stream(`${PROMPT} stream ${i}`))
              texts[i] += text
          } finally {
            tally.settled++
          }
        }
        const reading = Promise.allSettled(texts.map((_, i) => read(i)))
        await became(() => texts.every((text) => text.length > 20))
        way.cut()
        for (const [i, ended] of (await reading).entries()) {
          expect(ended).toMatchObject({
            status: 'rejected',
            reason: { code: 'STREAM', text: texts[i] },
          })
        }
        expect(upstream.requests).toHaveLength(4)
        expect(blossom.stats().breaker).toMatchObject({
          failures: 4,
          successes: 0,
          state: 'closed',
        })
        expect(await askMany(blossom, 4, 4)).toEqual({ answer: 4 })
      }),
  },
  {
    fault: 'an invalid baseURL: a file, a script, one with a password, two lines, empty',
    ends: 'CONFIG, before the client is created',
    requests: 'none',
    breaker: 'none',
    run: async () => {
      tally.faults++
      const wrong = [
        'file:///etc/passwd',
        'data:,x',
        'javascript:1',
        'http://a:hush@127.0.0.1',
        'http://127.0.0.1\r\nx: y',
        '',
        '//a',
      ]
      for (const baseURL of wrong) {
        expect(() => clientOf(baseURL), baseURL).toThrow(
          expect.objectContaining({ code: 'CONFIG' }),
        )
        expect(() => clientOf(baseURL), baseURL).not.toThrow(/hush/)
      }
    },
  },
  {
    fault: 'callbacks that throw, and 503 until the breaker has opened',
    ends: 'SERVER, then BREAKER_OPEN, then an answer',
    requests: 'two, none, one',
    breaker: 'opens, runs one trial, closes',
    run: () =>
      around({}, async ({ upstream, way }) => {
        const thrower = () => {
          throw new Error('A hook has failed.')
        }
        await using blossom = createBlossom({ baseURL: way.url }).use(
          retry({ retries: 1, minDelayMs: 0, maxDelayMs: 0, onRetry: thrower }),
          breaker({ minimumCalls: 2, resetMs: 30, onStateChange: thrower }),
        )
        upstream.fail(503, 2)
        expect(await ask(blossom)).toBe('SERVER')
        expect(await ask(blossom)).toBe('BREAKER_OPEN')
        await became(() => blossom.stats().breaker.state === 'half-open')
        expect(await ask(blossom)).toBe('answer')
        expect(upstream.requests).toHaveLength(3)
        expect(blossom.stats().breaker).toMatchObject({ state: 'closed', opened: 1 })
      }),
  },
]

/** What is said of the hooks that throw. */
export const EXPECTED_WARNINGS: readonly string[] = [
  'retry: onRetry()',
  'breaker: onStateChange()',
].map((hook) => `BlossomStackWarning: ${hook} threw Error. The call continued.`)
