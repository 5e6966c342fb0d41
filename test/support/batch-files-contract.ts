import { expect, it } from 'vitest'
import type { Batches } from '../../src/batches/index.js'
import { BATCHES, type BatchesInternals } from '../../src/batches/internals.js'
import { all, clientOf, type MakeBatches, numbered } from './batches-contract.js'
import { failure } from './watch.js'

const internals = (batches: Batches): BatchesInternals =>
  (batches as unknown as { [BATCHES]: BatchesInternals })[BATCHES]

async function* pieces(...all: string[]) {
  yield* all
}

const termsOf =
  (about: string, keepMs = 60_000) =>
  () => ({ about, keepMs })

async function text(parts: AsyncIterable<string>): Promise<string> {
  let whole = ''
  for await (const part of parts) whole += part
  return whole
}

/** What holds of files, and of lists, wherever they are kept. */
export function filesContract(makes: () => MakeBatches): void {
  const jobsOf = (options = {}) =>
    internals(
      makes()(
        clientOf(() => ({})),
        options,
      ),
    ).jobs
  const keep = (id: string, owner: string, ...all: string[]) =>
    jobsOf().files.put({ id, owner }, pieces(...all), termsOf(`about ${id}`))

  it('keeps a file as it came, and deletes it', async () => {
    const { files } = jobsOf()
    const parts = ['first\n', '🌸'.repeat(70_000), '', '\nlast']
    let isOver = false
    async function* counted() {
      yield* parts
      isOver = true
    }
    const file = await files.put({ id: 'file-{1}/..', owner: 'a' }, counted(), () => {
      expect(isOver).toBe(true)
      return { about: 'about', keepMs: 60_000 }
    })
    const bytes = Buffer.byteLength(parts.join(''))
    const { createdAt, expiresAt } = file
    expect(file).toMatchObject({ id: 'file-{1}/..', owner: 'a', about: 'about', bytes })
    expect(expiresAt - createdAt).toBe(60_000)
    expect(await files.get(file.id)).toEqual(file)
    expect(await text(files.read(file.id))).toBe(parts.join(''))
    expect(await files.delete(file.id)).toBe(true)
    expect(await files.delete(file.id)).toBe(false)
    expect(await files.get(file.id)).toBeUndefined()
    expect(await text(files.read(file.id))).toBe('')
  })

  it('keeps an empty file, and discards a file whose upload fails', async () => {
    const { files } = jobsOf()
    await files.put({ id: 'empty', owner: '' }, pieces(), termsOf(''))
    expect(await files.get('empty')).toMatchObject({ bytes: 0 })
    expect(await text(files.read('empty'))).toBe('')
    const failed = new Error('on purpose')
    async function* failing() {
      yield 'x'
      throw failed
    }
    const half = { id: 'half', owner: '' }
    expect(await failure(files.put(half, failing(), termsOf('')))).toBe(failed)
    expect(await files.get('half')).toBeUndefined()
  })

  it('forgets a file when it expires', async () => {
    const { files } = jobsOf()
    await files.put({ id: 'short', owner: 'a' }, pieces('x'), termsOf('', 50))
    await expect.poll(() => files.get('short'), { timeout: 20_000 }).toBeUndefined()
    expect(await files.list('a', { limit: 5 })).toEqual([])
    expect(await text(files.read('short'))).toBe('')
  })

  it('lists the files of an owner part by part, in both orders', async () => {
    for (let n = 0; n < 7; n++) await keep(`file-${n}`, n % 3 === 0 ? 'other' : 'mine', `${n}`)
    const { files } = jobsOf()
    for (const reversed of [false, true]) {
      const found: string[] = []
      for (let after: { at: number; id: string } | undefined; ; ) {
        const part = await files.list('mine', { after, limit: 2, reversed })
        found.push(...part.map(({ id }) => id))
        const last = part.at(-1)
        if (last === undefined) break
        after = { at: last.createdAt, id: last.id }
      }
      const expected = ['file-5', 'file-4', 'file-2', 'file-1']
      expect([...found].sort()).toEqual([...expected].sort())
      expect(found).toHaveLength(4)
    }
    expect((await files.list('mine', { limit: 9 })).map(({ about }) => about)).toContain(
      'about file-4',
    )
    expect(await files.list('nobody', { limit: 9 })).toEqual([])
  })

  it('lists the batches of an owner, and keeps one whose input was wrong', async () => {
    const batches = makes()(clientOf(() => ({})))
    const { jobs, reject } = internals(batches)
    for (let n = 0; n < 5; n++)
      await batches.create(numbered(1), { id: `batch-${n}`, ...(n > 0 && { tenant: 'mine' }) })
    const rejected = { id: 'wrong', owner: 'mine', endpoint: '/v1/embeddings' as const }
    await reject.call(internals(batches), { ...rejected, more: { errors: [1] } })
    const first = await jobs.list('mine', { limit: 3 })
    const { createdAt, id } = first.at(-1)!
    const rest = await jobs.list('mine', { after: { at: createdAt, id }, limit: 3 })
    const found = [...first, ...rest]
    expect(found.map((state) => state.id).sort()).toEqual([
      'batch-1',
      'batch-2',
      'batch-3',
      'batch-4',
      'wrong',
    ])
    const wrong = found.find((state) => state.id === 'wrong')!
    expect(JSON.parse(wrong.about)).toEqual({
      endpoint: '/v1/embeddings',
      more: { errors: [1] },
    })
    expect(await batches.status('wrong')).toEqual({
      id: 'wrong',
      status: 'failed',
      requestCounts: { total: 0, completed: 0, failed: 0 },
    })
    expect(await all(batches.results('wrong'))).toEqual([])
  })

  it('deletes results of one kind, once the batch has ended', async () => {
    const batches = makes()(
      clientOf(({ n }) => {
        if (n === 1) throw new Error('no')
        return { n }
      }),
    )
    const { jobs } = internals(batches)
    const { id } = await batches.create(numbered(3))
    await jobs.drop(id, 'completed')
    batches.worker()
    expect(await all(batches.results(id))).toHaveLength(3)
    await jobs.drop(id, 'completed')
    expect((await all(batches.results(id))).map(({ ok }) => ok)).toEqual([false])
    const state = await jobs.get(id)
    expect(state).toMatchObject({
      status: 'completed',
      completed: 2,
      dropped: { completed: true, failed: false },
    })
    expect(state!.completedBytes).toBeGreaterThan(0)
    await jobs.drop(id, 'failed')
    expect(await all(batches.results(id))).toEqual([])
  })
}
