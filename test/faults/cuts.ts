import { expect } from 'vitest'
import type { FaultProxy } from '../support/fault-proxy.js'
import { PROMPT } from '../support/secrets.js'
import { around, type Circle, type Client, clientOf } from './many-calls-run.js'
import { tally } from './tally.js'

/** Cuts are so many bytes apart. */
const STEP = 23
const OPTIONS = { maxTokens: 4 }

interface Read {
  text: string
  error: unknown
  attempts: number
}

/** What the breaker has counted. */
interface Verdicts {
  failures: number
  successes: number
}

async function generate(blossom: Client, prompt: string): Promise<Read> {
  tally.calls++
  try {
    const { text, attempts } = await blossom.text.generate(prompt, OPTIONS)
    return { text, error: undefined, attempts }
  } catch (error) {
    return { text: '', error, attempts: 0 }
  } finally {
    tally.settled++
  }
}

async function read(blossom: Client, prompt: string): Promise<Read> {
  tally.calls++
  const meta = new Map<string, unknown>()
  const read: Read = { text: '', error: undefined, attempts: 0 }
  try {
    for await (const { text } of await blossom.text.stream(prompt, { ...OPTIONS, meta }))
      read.text += text
  } catch (error) {
    read.error = error
  }
  tally.settled++
  return { ...read, attempts: (meta.get('client') as { attempts: number }).attempts }
}

/** The same call again and again, each time with its first connection cut some bytes further on. */
async function sweep(
  way: FaultProxy,
  call: typeof read,
  judge: (got: Read & Verdicts, whole: string) => void,
): Promise<void> {
  const once = async (ask: (blossom: Client) => Promise<void>) => {
    await using blossom = clientOf(way.url, { concurrency: 1 })
    await ask(blossom)
    const { queue, pool } = blossom.stats()
    expect([queue.running, queue.waiting, pool.active, pool.waiting]).toEqual([0, 0, 0, 0])
  }
  let whole = ''
  const before = way.passed
  await once(async (blossom) => {
    whole = (await call(blossom, PROMPT)).text
  })
  const length = way.passed - before
  for (let cutAfter = 0; cutAfter < length; cutAfter += STEP) {
    // Cuts are by connection, and a client makes its own.
    way.next({ cutAfter, reset: cutAfter % 2 === 1 })
    await once(async (blossom) => {
      const got = await call(blossom, PROMPT)
      const { failures, successes } = blossom.stats().breaker
      judge({ ...got, failures, successes }, whole)
    })
  }
}

export const cuts: readonly Circle[] = [
  {
    fault: `an answer that ends or is reset after every ${STEP}rd byte`,
    ends: 'a complete answer',
    requests: 'two',
    breaker: 'a failure, a success',
    run: () =>
      around({}, ({ way }) =>
        sweep(way, generate, (got, whole) => {
          expect(got).toMatchObject({
            error: undefined,
            text: whole,
            attempts: 2,
            failures: 1,
            successes: 1,
          })
        }),
      ),
  },
  {
    fault: `a stream that ends or is reset after every ${STEP}rd byte`,
    ends: 'a complete answer, or STREAM after a correct part of it',
    requests: 'two before the first content, then one',
    breaker: 'a failure, or a success after the finish reason',
    run: () =>
      around({}, ({ way }) =>
        sweep(way, read, ({ text, error, attempts, failures, successes }, whole) => {
          expect({ failures, successes }).toEqual(
            error === undefined
              ? { failures: attempts - 1, successes: 1 }
              : { failures: 1, successes: 0 },
          )
          if (error === undefined) return expect(text).toBe(whole)
          expect(error).toMatchObject({ code: 'STREAM', text })
          expect(whole.startsWith(text)).toBe(true)
          expect({ attempts, begun: text !== '' }).toEqual({ attempts: 1, begun: true })
        }),
      ),
  },
]
