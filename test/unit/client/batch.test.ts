import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { runBatch } from '../../../src/client/batch/index.js'
import type {
  BatchOutcome,
  BatchProgress,
  TextOptions,
  TextResult,
} from '../../../src/client/index.js'
import { createBlossom } from '../../../src/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'
import { type Gate, gate, never } from '../../support/gate.js'
import { catchWarnings } from '../../support/warnings.js'
import { failure, turn, watch } from '../../support/watch.js'

const resultOf = (text: string): TextResult => ({
  text,
  model: 'openai',
  usage: undefined,
  finishReason: 'stop',
  requestId: undefined,
  cached: false,
  attempts: 1,
  headers: {},
})

/** A generate function whose calls the test settles. */
function gated() {
  const calls: { prompt: string; options: TextOptions; gate: Gate<TextResult> }[] = []
  let most = 0
  let running = 0
  const generate = async (prompt: string, options: TextOptions): Promise<TextResult> => {
    const call = { prompt, options, gate: gate<TextResult>() }
    calls.push(call)
    most = Math.max(most, ++running)
    const leave = () => call.gate.fail(options.signal?.reason)
    options.signal?.addEventListener('abort', leave, { once: true })
    try {
      return await call.gate.promise
    } finally {
      options.signal?.removeEventListener('abort', leave)
      running--
    }
  }
  return {
    generate,
    calls,
    get most() {
      return most
    },
    finish(prompt: string) {
      calls.find((call) => call.prompt === prompt)?.gate.open(resultOf(`${prompt}!`))
    },
  }
}

const echo = async (prompt: string): Promise<TextResult> => resultOf(`${prompt}!`)

async function all(batch: AsyncIterable<BatchOutcome>): Promise<BatchOutcome[]> {
  const outcomes: BatchOutcome[] = []
  for await (const outcome of batch) outcomes.push(outcome)
  return outcomes
}

const indexes = (outcomes: readonly BatchOutcome[]) => outcomes.map(({ index }) => index)
/** Resolves when something has come true; asked at each turn of the event loop. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await turn()
}

const list = (length: number) => Array.from({ length }, (_, i) => `p${i}`)

describe('text.batch', () => {
  it('answers through the client’s stack and gives each outcome its index', async () => {
    await using upstream = await startLocalBlossom()
    const blossom = createBlossom({ baseURL: upstream.url })
    const [outcome] = await all(blossom.text.batch(['Hello'], { maxTokens: 5 }))
    expect(outcome).toEqual({
      index: 0,
      ok: true,
      ...(await blossom.text.generate('Hello', { maxTokens: 5 })),
      requestId: 'req-local-000001',
      headers: expect.objectContaining({ 'x-request-id': 'req-local-000001' }),
    })
    expect(upstream.requests[0]?.body).toMatchObject({ max_tokens: 5 })
  })

  it('ends at once for an empty list', async () => {
    expect(await all(runBatch(echo, []))).toEqual([])
    expect(
      await all(runBatch(echo, [], { order: 'input', concurrency: 1, estimate: () => 1 })),
    ).toEqual([])
  })

  it('starts nothing until it is read', async () => {
    const generate = vi.fn(echo)
    runBatch(generate, ['a'])
    await turn()
    expect(generate).not.toHaveBeenCalled()
  })

  describe('order', () => {
    const run = async (order: 'finished' | 'input' | undefined) => {
      const work = gated()
      const outcomes = watch(all(runBatch(work.generate, ['a', 'b', 'c'], { order })))
      await until(() => work.calls.length === 3)
      for (const prompt of ['c', 'a', 'b']) {
        work.finish(prompt)
        await turn()
      }
      await until(() => outcomes.state === 'resolved')
      return indexes(outcomes.value as BatchOutcome[])
    }
    it('is completion order by default', async () => {
      expect(await run(undefined)).toEqual([2, 0, 1])
      expect(await run('finished')).toEqual([2, 0, 1])
    })
    it('is prompt order when requested', async () => {
      expect(await run('input')).toEqual([0, 1, 2])
    })
    it('follows thousands of prompts even when they start in order of cost', async () => {
      const outcomes = await all(
        runBatch(echo, list(1_500), {
          order: 'input',
          estimate: (prompt) => Number(prompt.slice(1)),
        }),
      )
      expect(indexes(outcomes)).toEqual(list(1_500).map((_, i) => i))
    }, 10_000)
  })

  describe('concurrency', () => {
    it.each([1, 3, 7])('reaches %i and never exceeds it', async (concurrency) => {
      const work = gated()
      const outcomes = all(runBatch(work.generate, list(20), { concurrency }))
      for (let i = 0; i < 20; i++) {
        await until(() => work.calls.length === Math.min(20, i + concurrency))
        work.finish(`p${i}`)
      }
      expect(await outcomes).toHaveLength(20)
      expect(work.most).toBe(concurrency)
    })
    it('is 5 by default', async () => {
      const work = gated()
      const outcomes = watch(all(runBatch(work.generate, list(20))))
      await until(() => work.calls.length === 5)
      await turn()
      expect([work.calls.length, outcomes.state]).toEqual([5, 'pending'])
    })
  })

  describe('prompts', () => {
    it('are pulled only as they are started', async () => {
      const work = gated()
      let pulled = 0
      const endless = (function* () {
        for (;;) yield `p${pulled++}`
      })()
      const batch = runBatch(work.generate, endless, { concurrency: 2 })
      const first = batch.next()
      await until(() => work.calls.length === 2)
      await turn()
      expect(pulled).toBe(2)
      work.finish('p1')
      expect((await first).value).toMatchObject({ index: 1 })
      await until(() => work.calls.length === 3)
      expect(pulled).toBe(3)
      await batch.return(undefined)
      expect(endless.next().done).toBe(true)
    })

    it('may come from an async iterable, which is closed when the batch is left', async () => {
      let closed = false
      const source = (async function* () {
        try {
          for (let i = 0; ; i++) yield `p${i}`
        } finally {
          closed = true
        }
      })()
      for await (const { index } of runBatch(echo, source)) if (index === 3) break
      await until(() => closed)
    })

    it('may be a Set or come as promises', async () => {
      expect(await all(runBatch(echo, new Set(['a', 'b'])))).toHaveLength(2)
      const promises = [Promise.resolve('a'), Promise.resolve('b')] as unknown as string[]
      expect(
        (await all(runBatch(echo, promises))).map((outcome) => outcome.ok && outcome.text),
      ).toEqual(['a!', 'b!'])
    })

    it('that are not texts fail only their own outcome', async () => {
      await using upstream = await startLocalBlossom()
      const prompts = ['a', 5, null, '', 'b', {}] as string[]
      const outcomes = await all(
        createBlossom({ baseURL: upstream.url }).text.batch(prompts, { order: 'input' }),
      )
      expect(outcomes.map(({ ok }) => ok)).toEqual([true, false, false, false, true, false])
      for (const outcome of outcomes)
        if (!outcome.ok) expect(outcome.error).toMatchObject({ code: 'VALIDATION' })
      expect(upstream.requests).toHaveLength(2)
    })

    it('that throw end the batch with the thrown error, after the outcomes of earlier prompts', async () => {
      const source = (function* () {
        yield 'a'
        yield 'b'
        throw new RangeError('no more')
      })()
      const batch = runBatch(echo, source)
      const seen: number[] = []
      const error = await failure(
        (async () => {
          for await (const { index } of batch) seen.push(index)
        })(),
      )
      expect(error).toMatchObject({ name: 'RangeError', message: 'no more' })
      expect(seen).toEqual([0, 1])
    })

    it('whose return() throws cause no unhandled rejection', async () => {
      const said = catchWarnings()
      const source: AsyncIterable<string> = {
        [Symbol.asyncIterator]: () => ({
          next: async () => ({ done: false, value: 'a' }),
          return: async () => {
            throw new RangeError('cannot close')
          },
        }),
      }
      for await (const _ of runBatch(echo, source)) break
      await until(() => said.join().includes('RangeError'))
      vi.restoreAllMocks()
    })
  })

  it('isolates each failure from the other prompts', async () => {
    const generate = async (prompt: string) => {
      if (prompt === 'p3') throw new Error('on purpose')
      return resultOf(prompt)
    }
    const outcomes = await all(runBatch(generate, list(101), { order: 'input' }))
    expect(outcomes.filter(({ ok }) => ok)).toHaveLength(100)
    expect(outcomes[3]).toMatchObject({ index: 3, ok: false, error: { message: 'on purpose' } })
  })

  it('reports progress after each outcome', async () => {
    const told: BatchProgress[] = []
    const generate = async (prompt: string) => {
      if (prompt === 'p1') throw new Error('on purpose')
      return resultOf(prompt)
    }
    await all(
      runBatch(generate, list(4), {
        concurrency: 1,
        onProgress: (progress) => told.push(progress),
      }),
    )
    expect(told.map(({ elapsedMs, ...rest }) => rest)).toEqual([
      { done: 1, failed: 0, running: 0, total: 4 },
      { done: 2, failed: 1, running: 0, total: 4 },
      { done: 3, failed: 1, running: 0, total: 4 },
      { done: 4, failed: 1, running: 0, total: 4 },
    ])
    expect(told.every(({ elapsedMs }, i) => elapsedMs >= (told[i - 1]?.elapsedMs ?? 0))).toBe(true)
  })

  it('reports no total for an iterable, and continues when onProgress throws', async () => {
    const said = catchWarnings()
    const totals: unknown[] = []
    const onProgress = ({ total }: BatchProgress) => {
      totals.push(total)
      throw new TypeError('on purpose')
    }
    expect(await all(runBatch(echo, new Set(['a', 'b']), { onProgress }))).toHaveLength(2)
    expect(totals).toEqual([undefined, undefined])
    expect(said.join()).toContain('onProgress')
    vi.restoreAllMocks()
  })

  describe('leaving', () => {
    it.each(['break', 'throw'])(
      'by %s ends the calls in progress and reports nothing more',
      async (how) => {
        const work = gated()
        const told: BatchProgress[] = []
        const batch = runBatch(work.generate, list(10), {
          concurrency: 3,
          onProgress: (progress) => told.push(progress),
        })
        const left = (async () => {
          for await (const _ of batch) {
            if (how === 'throw') throw new Error('changed my mind')
            break
          }
        })()
        await until(() => work.calls.length === 3)
        work.finish('p0')
        if (how === 'throw') await expect(left).rejects.toThrow('changed my mind')
        else await left
        expect(work.calls.slice(1).every(({ options }) => options.signal?.aborted)).toBe(true)
        await turn()
        expect(told).toHaveLength(1)
        expect(work.calls.length).toBeLessThanOrEqual(4)
      },
    )

    it('reaches the server', async () => {
      await using upstream = await startLocalBlossom({
        latencyMs: ({ rawBody }) => (rawBody.includes('p0') ? 0 : 5_000),
      })
      for await (const _ of createBlossom({ baseURL: upstream.url }).text.batch(list(5))) break
      await upstream.waitFor(({ active }) => active === 0)
    })
  })

  describe('signal', () => {
    it('that is already aborted starts nothing', async () => {
      const generate = vi.fn(echo)
      const reason = new Error('too late')
      await expect(
        all(runBatch(generate, ['a'], { signal: AbortSignal.abort(reason) })),
      ).rejects.toBe(reason)
      expect(generate).not.toHaveBeenCalled()
    })

    it('ends the batch with its reason and the calls in progress with it', async () => {
      const work = gated()
      const controller = new AbortController()
      const outcomes = watch(
        all(runBatch(work.generate, list(10), { concurrency: 2, signal: controller.signal })),
      )
      await until(() => work.calls.length === 2)
      const reason = new Error('stop')
      controller.abort(reason)
      await until(() => outcomes.state === 'rejected')
      expect(outcomes.error).toBe(reason)
      expect(work.calls.map(({ options }) => options.signal?.reason)).toEqual([reason, reason])
    })

    it('ends a batch whose prompts do not come', async () => {
      const controller = new AbortController()
      const source: AsyncIterable<string> = {
        [Symbol.asyncIterator]: () => ({ next: () => never<IteratorResult<string>>() }),
      }
      const outcomes = watch(all(runBatch(echo, source, { signal: controller.signal })))
      await turn()
      const reason = new Error('stop')
      controller.abort(reason)
      await until(() => outcomes.state === 'rejected')
      expect(outcomes.error).toBe(reason)
    })

    it('has no listeners left afterwards', async () => {
      const { signal } = new AbortController()
      const add = vi.spyOn(signal, 'addEventListener')
      const remove = vi.spyOn(signal, 'removeEventListener')
      await all(runBatch(echo, list(10), { signal }))
      expect(add).toHaveBeenCalledTimes(1)
      expect(remove).toHaveBeenCalledTimes(1)
    })
  })

  it('starts the most expensive prompts first and keeps their indexes', async () => {
    const begun: string[] = []
    const generate = async (prompt: string) => {
      begun.push(prompt)
      return resultOf(prompt)
    }
    const prompts = ['aa', 'a', 'aaaa', 'aaa', 'b']
    const outcomes = await all(
      runBatch(generate, prompts, { concurrency: 1, estimate: (prompt) => prompt.length }),
    )
    expect(begun).toEqual(['aaaa', 'aaa', 'aa', 'a', 'b'])
    expect(indexes(outcomes)).toEqual([2, 3, 0, 1, 4])
  })

  it('ignores an estimate that is not a number, and passes on what the estimate throws', async () => {
    expect(await all(runBatch(echo, ['a', 'b'], { estimate: () => Number.NaN }))).toHaveLength(2)
    const estimate = () => {
      throw new RangeError('on purpose')
    }
    await expect(all(runBatch(echo, ['a'], { estimate }))).rejects.toThrow('on purpose')
  })

  it('starts no new prompts while its reader is slow', async () => {
    const generate = vi.fn(echo)
    const endless = (function* () {
      for (let i = 0; ; i++) yield `p${i}`
    })()
    const batch = runBatch(generate, endless, { concurrency: 8 })
    await batch.next()
    await until(() => generate.mock.calls.length > 900)
    for (let i = 0; i < 50; i++) await turn()
    const begun = generate.mock.calls.length
    expect(begun).toBeLessThanOrEqual(1_010)
    for (let i = 0; i < 20; i++) await batch.next()
    await until(() => generate.mock.calls.length > begun)
    await batch.return(undefined)
  })

  describe('checkpoint', () => {
    let folder: string
    let file: string
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'batch-'))
      file = join(folder, 'done.jsonl')
    })
    afterEach(() => rm(folder, { recursive: true }))

    it('keeps each success and asks only for the rest on the next run', async () => {
      const failing = async (prompt: string) => {
        if (prompt === 'p2') throw new Error('on purpose')
        return resultOf(`${prompt} first`)
      }
      await all(runBatch(failing, list(5), { checkpoint: file }))
      const asked: string[] = []
      const second = async (prompt: string) => {
        asked.push(prompt)
        return resultOf(`${prompt} second`)
      }
      const outcomes = await all(runBatch(second, list(6), { checkpoint: file, order: 'input' }))
      expect(asked).toEqual(['p2', 'p5'])
      expect(outcomes.map((outcome) => outcome.ok && outcome.text)).toEqual([
        'p0 first',
        'p1 first',
        'p2 second',
        'p3 first',
        'p4 first',
        'p5 second',
      ])
      expect(outcomes[0]).toMatchObject({
        index: 0,
        ok: true,
        model: 'openai',
        finishReason: 'stop',
      })
    })

    it('skips a line cut short by a crash and lines that are not results', async () => {
      await all(runBatch(echo, list(3), { checkpoint: file, concurrency: 1 }))
      const lines = (await readFile(file, 'utf8')).trimEnd().split('\n')
      await writeFile(
        file,
        `garbage\n[]\n5\nnull\n{"key":"x"}\n${lines[0]}\n${lines[1]?.slice(0, -10)}`,
      )
      const asked: string[] = []
      const again = async (prompt: string) => {
        asked.push(prompt)
        return echo(prompt)
      }
      await all(runBatch(again, list(3), { checkpoint: file }))
      expect(asked).toEqual(['p1', 'p2'])
      asked.length = 0
      await all(runBatch(again, list(3), { checkpoint: file }))
      expect(asked).toEqual([])
    })

    it('identifies a prompt by its text and position', async () => {
      await all(runBatch(echo, ['a', 'b'], { checkpoint: file }))
      const asked: string[] = []
      const again = async (prompt: string) => {
        asked.push(prompt)
        return echo(prompt)
      }
      await all(runBatch(again, ['a', 'c', 'b'], { checkpoint: file }))
      expect(asked).toEqual(['c', 'b'])
    })

    it('stores only a digest of each prompt', async () => {
      await all(runBatch(async () => resultOf('answer'), ['MARMALADE'], { checkpoint: file }))
      expect(await readFile(file, 'utf8')).not.toContain('MARMALADE')
    })

    it('that cannot be opened ends the batch before anything is sent', async () => {
      const generate = vi.fn(echo)
      await expect(all(runBatch(generate, ['a'], { checkpoint: folder }))).rejects.toMatchObject({
        code: 'EISDIR',
      })
      expect(generate).not.toHaveBeenCalled()
    })

    it('survives a batch that is abandoned half-way', async () => {
      for await (const _ of runBatch(echo, list(50), { checkpoint: file, concurrency: 3 })) break
      await appendFile(file, '')
      const outcomes = await all(runBatch(echo, list(50), { checkpoint: file }))
      expect(outcomes).toHaveLength(50)
      for (const line of (await readFile(file, 'utf8')).trimEnd().split('\n'))
        expect(JSON.parse(line)).toHaveProperty('text')
    })
  })
})
