import { expect, it } from 'vitest'
import type { BatchClient, Batches, BatchesOptions, BatchResult } from '../../src/batches/index.js'
import { QueueFullError, StackError, ValidationError } from '../../src/index.js'
import { failure } from './watch.js'

/** How a test makes batches: all that one test makes are of the same store. */
export type MakeBatches = (blossom: BatchClient, options?: BatchesOptions) => Batches

type Body = Record<string, unknown>
type Ask = (
  body: Body,
  options: { signal: AbortSignal; priority: number; tenant?: string },
) => unknown

/** A client that answers by a function. */
export const clientOf = (ask: Ask): BatchClient => ({
  request: async <Answer>(request: { body?: Body | undefined }, options?: unknown) =>
    (await ask(request.body as Body, options as never)) as Answer,
})

export async function all(results: AsyncIterable<BatchResult>): Promise<BatchResult[]> {
  const found: BatchResult[] = []
  for await (const result of results) found.push(result)
  return found.sort((a, b) => (a.customId < b.customId ? -1 : 1))
}

export const numbered = (count: number) => Array.from({ length: count }, (_, n) => ({ n }))
export const echo: Ask = (body) => ({ echo: body })

/** What holds of batches wherever they are kept. */
export function batchesContract(makes: () => MakeBatches): void {
  const make: MakeBatches = (blossom, options) => makes()(blossom, options)

  it('gives each line one result: its answer as it came, or the error with which it ended', async () => {
    const batches = make(
      clientOf((body) => {
        if (body.n === 3) throw new StackError('No.', { code: 'BAD_REQUEST', status: 400 })
        if (body.n === 4) throw new Error('sk_secret')
        return { echo: body, more: ['ä', null, '\u2028\n'] }
      }),
    )
    const { id } = await batches.create(numbered(6))
    expect(await batches.status(id)).toMatchObject({
      id,
      status: expect.stringMatching(/^(validating|in_progress)$/),
      requestCounts: { total: 6, completed: 0, failed: 0 },
    })
    batches.worker()
    const results = await all(batches.results(id))
    expect(results).toEqual(
      [0, 1, 2, 3, 4, 5].map((n) => ({
        customId: String(n),
        ...(n === 3
          ? { ok: false, error: { code: 'BAD_REQUEST', message: 'No.', status: 400 } }
          : n === 4
            ? { ok: false, error: { code: 'INTERNAL', message: 'The call failed: Error.' } }
            : { ok: true, answer: { echo: { n }, more: ['ä', null, '\u2028\n'] } }),
      })),
    )
    expect(await batches.status(id)).toEqual({
      id,
      status: 'completed',
      requestCounts: { total: 6, completed: 4, failed: 2 },
    })
    // Once more, without a wait.
    expect(await all(batches.results(id, { wait: false }))).toEqual(results)
    expect(batches.stats()).toMatchObject({ created: 1, workers: 1, completed: 4, failed: 2 })
  })

  it('calls the endpoint at the lowest priority, for the tenant', async () => {
    const asked: unknown[] = []
    const batches = make({
      request: async (request, options) => {
        const { signal: _, meta: __, ...rest } = options ?? {}
        asked.push([request, rest])
        return {} as never
      },
    })
    const body = { input: 'x' }
    const { id } = await batches.create([body], { endpoint: '/v1/embeddings', tenant: 'gold' })
    batches.worker()
    await all(batches.results(id))
    expect(asked).toEqual([
      [
        { method: 'POST', path: '/v1/embeddings', body },
        { priority: Number.MIN_SAFE_INTEGER, tenant: 'gold' },
      ],
    ])
  })

  it('accepts the same id and items once, and refuses other items under that id', async () => {
    const batches = make(clientOf(echo))
    const options = { id: 'mine: {x} /..', customIds: ['a', '__proto__', '🌸:1'] }
    expect(await batches.create(numbered(3), options)).toEqual({ id: options.id })
    expect(await batches.create(numbered(3), options)).toEqual({ id: options.id })
    for (const [items, more] of [
      [numbered(2), { customIds: ['a', '__proto__'] }],
      [[...numbered(2), { n: 3 }], {}],
      [numbered(3), { customIds: ['a', 'b', 'c'] }],
      [numbered(3), { endpoint: '/v1/embeddings' as const }],
      [numbered(3), { tenant: 'other' }],
    ] as const)
      expect(await failure(batches.create(items, { ...options, ...more }))).toBeInstanceOf(
        ValidationError,
      )
    batches.worker()
    const results = await all(batches.results(options.id))
    expect(results.map(({ customId }) => customId)).toEqual(['__proto__', 'a', '🌸:1'])
    // When it is done it is the same still.
    await batches.create(numbered(3), options)
    expect((await batches.status(options.id)).requestCounts.completed).toBe(3)
  })

  it('creates one batch when the same id is submitted twice at once', async () => {
    const calls: unknown[] = []
    const batches = make(clientOf((body) => calls.push(body)))
    const twice = () => batches.create(numbered(4), { id: 'twice' })
    await Promise.all([twice(), twice(), twice()])
    batches.worker()
    expect(await all(batches.results('twice'))).toHaveLength(4)
    expect(calls).toHaveLength(4)
  })

  it('keeps nothing of a batch with a custom id that comes twice, wrong items, or items that fail', async () => {
    const batches = make(clientOf(echo))
    const id = 'wrong'
    const failed = new Error('on purpose')
    async function* failing() {
      yield* numbered(1_200)
      throw failed
    }
    expect(await failure(batches.create(failing(), { id }))).toBe(failed)
    const customIds = numbered(1_200).map(({ n }) => `line ${n === 1_100 ? 7 : n}`)
    const wrong: [unknown, object][] = [
      [numbered(1_200), { customIds }],
      [numbered(2), { customIds: ['a'] }],
      [numbered(2), { customIds: ['a', ''] }],
      [numbered(2), { customIds: ['a', '\ud800'] }],
      [numbered(1), { customIds: ['a', 'b'] }],
      [[], {}],
      [['a text'], {}],
      [[{ n: 1 }, null], {}],
      [[{ stream: true }], {}],
      [[{ n: 1n }], {}],
      ['items', {}],
      [5, {}],
      [numbered(1), { endpoint: '/v1/audio/speech' }],
      [numbered(1), { tenant: '' }],
      [numbered(1), { nonsense: 1 }],
    ]
    for (const [items, more] of wrong) {
      const error = await failure(batches.create(items as never, { id, ...more }))
      expect([items, error instanceof ValidationError]).toEqual([items, true])
    }
    expect(await failure(batches.status(id))).toMatchObject({ code: 'NOT_FOUND', status: 404 })
    await batches.create(numbered(2), { id })
    expect((await batches.status(id)).requestCounts.total).toBe(2)
  })

  it('reads items as they arrive, and runs as many lines at once as allowed', async () => {
    let running = 0
    let most = 0
    const batches = make(
      clientOf(async () => {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setTimeout(resolve, 2))
        running--
        return {}
      }),
      { concurrency: 7 },
    )
    async function* items() {
      yield* numbered(1_500)
    }
    const { id } = await batches.create(items())
    batches.worker()
    expect(await all(batches.results(id))).toHaveLength(1_500)
    expect(most).toBe(7)
  })

  it('lets batches take turns', async () => {
    const order: unknown[] = []
    const batches = make(
      clientOf((body) => void order.push(body.of)),
      { concurrency: 2 },
    )
    const large = numbered(400).map(({ n }) => ({ n, of: 'large' }))
    const small = numbered(30).map(({ n }) => ({ n, of: 'small' }))
    await batches.create(large, { id: 'large' })
    await batches.create(small, { id: 'small' })
    batches.worker()
    await Promise.all([all(batches.results('large')), all(batches.results('small'))])
    expect(order).toHaveLength(430)
    expect(order.lastIndexOf('small')).toBeLessThan(150)
  })

  it('skips lines that have not begun when it is cancelled, and lets the others finish', async () => {
    const finish: (() => void)[] = []
    const batches = make(
      clientOf(async () => {
        await new Promise<void>((resolve) => finish.push(resolve))
        return { done: true }
      }),
      { concurrency: 3 },
    )
    const { id } = await batches.create(numbered(900))
    batches.worker()
    await expect.poll(() => finish.length, { timeout: 20_000 }).toBe(3)
    await batches.cancel(id)
    await batches.cancel(id)
    expect((await batches.status(id)).status).toBe('cancelling')
    for (const end of finish) end()
    const results = await all(batches.results(id))
    expect(results).toHaveLength(900)
    expect(results.filter(({ ok }) => ok)).toHaveLength(3)
    const codes = results.map((result) => (result.ok ? 'ok' : result.error.code))
    expect(new Set(codes)).toEqual(new Set(['ok', 'cancelled']))
    expect(await batches.status(id)).toEqual({
      id,
      status: 'cancelled',
      requestCounts: { total: 900, completed: 3, failed: 0 },
    })
    expect(finish).toHaveLength(3)
  })

  it('cancels a batch that nobody runs', async () => {
    const batches = make(clientOf(echo))
    const { id } = await batches.create(numbered(600))
    await batches.cancel(id)
    expect((await batches.status(id)).status).toBe('cancelled')
    expect(await all(batches.results(id))).toHaveLength(600)
    await batches.cancel(id)
    expect(await failure(batches.cancel('unknown'))).toMatchObject({ code: 'NOT_FOUND' })
  })

  it('expires lines that have not begun in time', async () => {
    const asked: unknown[] = []
    const batches = make(
      clientOf((body) => asked.push(body)),
      { expireMs: 1_000 },
    )
    const { id } = await batches.create(numbered(3))
    await expect
      .poll(async () => (await batches.status(id)).status, { timeout: 20_000 })
      .toBe('expired')
    batches.worker()
    const results = await all(batches.results(id))
    expect(results.map((result) => !result.ok && result.error.code)).toEqual(
      Array(3).fill('expired'),
    )
    expect(asked).toEqual([])
    expect((await batches.status(id)).requestCounts).toEqual({ total: 3, completed: 0, failed: 0 })
  })

  it('runs a line again later when a layer refuses it', async () => {
    let times = 0
    const batches = make(
      clientOf(() => {
        if (++times === 1) throw new QueueFullError(5, { retryAfter: 1_200 })
        return { times }
      }),
    )
    const { id } = await batches.create(numbered(1))
    batches.worker()
    expect(await all(batches.results(id))).toEqual([
      { customId: '0', ok: true, answer: { times: 2 } },
    ])
    expect(batches.stats()).toMatchObject({ postponed: 1, completed: 1, failed: 0 })
  })

  it('puts running lines back each time the worker is closed at once', async () => {
    const signals: AbortSignal[] = []
    let isDone = false
    const batches = make(
      clientOf((_, { signal }) => {
        signals.push(signal)
        if (isDone) return { done: true }
        return new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason)),
        )
      }),
      { concurrency: 2 },
    )
    const { id } = await batches.create(numbered(2))
    for (let times = 1; times <= 3; times++) {
      const worker = batches.worker()
      await expect.poll(() => signals.length, { timeout: 20_000 }).toBe(2 * times)
      await worker.close({ timeoutMs: 0 })
      await worker.close()
      expect(signals.every(({ aborted }) => aborted)).toBe(true)
    }
    isDone = true
    batches.worker()
    const results = await all(batches.results(id))
    expect(results.map(({ ok }) => ok)).toEqual([true, true])
  })

  it('waits for running lines when the worker is closed', async () => {
    let finish = (_: unknown): void => {}
    const batches = make(
      clientOf(
        () =>
          new Promise((resolve) => {
            finish = resolve
          }),
      ),
      { concurrency: 1 },
    )
    const { id } = await batches.create(numbered(2))
    const worker = batches.worker()
    await expect.poll(() => batches.stats().running, { timeout: 20_000 }).toBe(1)
    const closed = worker.close()
    finish({ last: true })
    await closed
    expect((await batches.status(id)).requestCounts.completed).toBe(1)
    expect(batches.stats()).toMatchObject({ workers: 0, running: 0 })
  })

  it('stops waiting for results when the signal aborts, and refuses unknown ids', async () => {
    const batches = make(clientOf(echo))
    const { id } = await batches.create(numbered(1))
    const leaving = new AbortController()
    const waiting = all(batches.results(id, { signal: leaving.signal }))
    leaving.abort(new Error('left'))
    expect(await failure(waiting)).toMatchObject({ message: 'left' })
    expect(await all(batches.results(id, { wait: false }))).toEqual([])
    for (const unknown of ['unknown', '', 5, undefined] as string[]) {
      expect(await failure(batches.status(unknown))).toMatchObject({ code: 'NOT_FOUND' })
      expect(await failure(all(batches.results(unknown)))).toMatchObject({ code: 'NOT_FOUND' })
    }
  })

  it('refuses everything when it is closed', async () => {
    const batches = make(clientOf(echo))
    const { id } = await batches.create(numbered(1))
    await batches.close()
    await batches.close()
    expect(await failure(batches.create(numbered(1)))).toMatchObject({ code: 'CLOSED' })
    expect(await failure(batches.status(id))).toMatchObject({ code: 'CLOSED' })
    expect(() => batches.worker()).toThrow('closed')
  })
}
