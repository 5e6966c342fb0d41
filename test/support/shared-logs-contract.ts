import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LogOptions, LogPart, LogReader, LogWriter, SharedLogs } from '../../src/core/index.js'
import { turn } from './watch.js'

/** Several processes that have logs together. */
export interface LogProcesses extends AsyncDisposable {
  /** What each of them sees. */
  readonly of: readonly SharedLogs[]
  /** Ends one as `kill -9` does. */
  kill(index: number): void
}

const OPTIONS: LogOptions = {
  keepMs: 60_000,
  maxEntries: 10_000,
  maxLength: 1024 * 1024,
  whenFull: 'trim',
}

/** A log that ends later than a test has patience. */
const LONG = 20_000

let keys = 0
/** A key that no other test has. */
const newKey = () => `log-${++keys}`

async function writerOf(logs: SharedLogs, key: string, options?: Partial<LogOptions>) {
  const claim = await logs.claim(key, { ...OPTIONS, ...options })
  if (claim === null || claim === 'full' || claim.writer === undefined)
    throw new Error('It was to become the writer.')
  return claim.writer
}

/** What a writer has only just begun may be seen a little later elsewhere. */
async function readerOf(logs: SharedLogs, key: string, from = 0): Promise<LogReader> {
  let reader: LogReader | null | undefined
  const follow = async () => {
    reader = await logs.follow(key, from)
    return reader
  }
  await expect.poll(follow, { timeout: LONG }).toBeTruthy()
  return reader as LogReader
}

/** Reads until it is known that nothing more will come. */
async function readAll(reader: LogReader): Promise<LogPart> {
  const entries: string[] = []
  for (;;) {
    const part = await reader.read()
    entries.push(...part.entries)
    if (part.state !== 'open') return { entries, state: part.state }
  }
}

/** Reads at least so many entries. */
async function readSome(reader: LogReader, count: number): Promise<string[]> {
  const entries: string[] = []
  while (entries.length < count) {
    const part = await reader.read()
    entries.push(...part.entries)
    if (part.state !== 'open') throw new Error(`It is ${part.state}.`)
  }
  return entries
}

/** What a writer hears. */
function watchOf(writer: LogWriter) {
  const heard = { readers: 0, lost: 0, stopped: 0 }
  writer.watch({
    readers: (count) => {
      heard.readers = count
    },
    lost: () => void heard.lost++,
    stopped: () => void heard.stopped++,
  })
  return heard
}

/** Texts that every store keeps as they are. */
const texts = fc.array(fc.string({ unit: 'grapheme', maxLength: 12 }), { maxLength: 12 })

/** The contract of `SharedLogs`, for whatever implements it. */
export function sharedLogsContract(
  open: (processes: number) => Promise<LogProcesses>,
  { numRuns = 100 } = {},
): void {
  const run =
    (test: (processes: LogProcesses & { a: SharedLogs; b: SharedLogs }) => Promise<void>) =>
    async () => {
      await using processes = await open(2)
      const [a, b] = processes.of as [SharedLogs, SharedLogs]
      await test({
        of: processes.of,
        kill: (index) => processes.kill(index),
        [Symbol.asyncDispose]: async () => {},
        a,
        b,
      })
    }

  describe('claim', () => {
    it(
      'makes one the writer, and lets the others read from the beginning',
      run(async ({ a, b }) => {
        const key = newKey()
        const writer = await writerOf(a, key)
        writer.append('one')
        const claim = await b.claim(key, OPTIONS)
        expect(claim).toMatchObject({ reader: expect.any(Object) })
        const { reader } = claim as { reader: LogReader }
        expect(await readSome(reader, 1)).toEqual(['one'])
        writer.end('two')
        expect(await readAll(reader)).toEqual({ entries: ['two'], state: 'ended' })
      }),
    )

    it(
      'makes exactly one of many who claim at once the writer',
      run(async ({ a, b }) => {
        const key = newKey()
        const claims = await Promise.all([a, b, a, b].map((logs) => logs.claim(key, OPTIONS)))
        const writers = claims.filter((claim) => claim !== 'full' && claim?.writer !== undefined)
        expect(writers).toHaveLength(1)
        const readers = claims.flatMap((claim) => (claim !== 'full' && claim?.reader) || [])
        expect(readers).toHaveLength(3)
        ;(writers[0] as { writer: LogWriter }).writer.end('all of it')
        for (const reader of readers)
          expect(await readAll(reader)).toEqual({ entries: ['all of it'], state: 'ended' })
      }),
    )

    it(
      'starts a new log after one has ended or was abandoned',
      run(async ({ a, b }) => {
        const key = newKey()
        const first = await writerOf(a, key)
        first.append('old')
        first.end('older')
        await readAll(await readerOf(b, key))
        const second = await writerOf(b, key)
        second.append('new')
        expect(await readSome(await readerOf(a, key), 1)).toEqual(['new'])
        second.abandon()
        await readAll(await readerOf(a, key))
        const third = await writerOf(a, key)
        third.end('newest')
        expect(await readAll(await readerOf(b, key))).toEqual({
          entries: ['newest'],
          state: 'ended',
        })
      }),
    )

    it(
      'keeps the logs of different keys apart',
      run(async ({ a, b }) => {
        const [one, other] = [newKey(), newKey()]
        const writer = await writerOf(a, one)
        ;(await writerOf(a, other)).end('other')
        writer.end('one')
        expect((await readAll(await readerOf(b, one))).entries).toEqual(['one'])
        expect((await readAll(await readerOf(b, other))).entries).toEqual(['other'])
      }),
    )
  })

  describe('follow', () => {
    it(
      'gives undefined where there is no log',
      run(async ({ a }) => {
        expect(await a.follow(newKey(), 0)).toBe(undefined)
      }),
    )

    it(
      'reads whatever was written from any entry on, however it was written and read',
      run(async ({ a, b }) => {
        await fc.assert(
          fc.asyncProperty(
            texts,
            fc.string({ unit: 'grapheme', maxLength: 12 }),
            fc.nat({ max: 14 }),
            fc.infiniteStream(fc.boolean()),
            async (entries, last, from, waits) => {
              const key = newKey()
              const writer = await writerOf(a, key)
              const early = readAll(await readerOf(b, key, from))
              for (const entry of entries) {
                writer.append(entry)
                if (waits.next().value) await turn()
              }
              const inTheMiddle = readAll(await readerOf(b, key, from))
              writer.end(last)
              const late = readAll(await readerOf(b, key, from))
              const own = readAll(await readerOf(a, key, from))
              const expected = { entries: [...entries, last].slice(from), state: 'ended' }
              for (const read of [early, inTheMiddle, late, own])
                expect(await read).toEqual(expected)
            },
          ),
          { numRuns },
        )
      }),
      120_000,
    )

    it(
      'waits for new entries, and stays pending after leave()',
      run(async ({ a, b }) => {
        const key = newKey()
        const writer = await writerOf(a, key)
        const [staying, leaving] = [await readerOf(b, key), await readerOf(b, key)]
        let settled = false
        const part = staying.read()
        void leaving.read().then(() => {
          settled = true
        })
        leaving.leave()
        writer.append('late')
        expect(await part).toEqual({ entries: ['late'], state: 'open' })
        writer.end('last')
        expect(await readAll(staying)).toEqual({ entries: ['last'], state: 'ended' })
        await turn()
        expect(settled).toBe(false)
      }),
    )

    it(
      'skips what lies before an entry that is still to come',
      run(async ({ a, b }) => {
        const key = newKey()
        const writer = await writerOf(a, key)
        const reader = await readerOf(b, key, 2)
        writer.append('0')
        writer.append('1')
        writer.append('2')
        expect(await readSome(reader, 1)).toEqual(['2'])
        writer.end('3')
        expect(await readAll(reader)).toEqual({ entries: ['3'], state: 'ended' })
        expect(await readAll(await readerOf(b, key, 9))).toEqual({ entries: [], state: 'ended' })
      }),
    )
  })

  describe('a writer', () => {
    it(
      'that has ended changes nothing any more',
      run(async ({ a, b }) => {
        const key = newKey()
        const writer = await writerOf(a, key)
        writer.end('last')
        writer.append('later')
        writer.end('later still')
        writer.abandon()
        expect(await writer.abandonUnread()).toBe(true)
        expect(await readAll(await readerOf(b, key))).toEqual({ entries: ['last'], state: 'ended' })
      }),
    )

    it(
      'that abandons its log leaves what it has written, and a loss',
      run(async ({ a, b }) => {
        const key = newKey()
        const writer = await writerOf(a, key)
        const early = await readerOf(b, key)
        writer.append('one')
        writer.abandon()
        writer.append('two')
        expect(await readAll(early)).toEqual({ entries: ['one'], state: 'lost' })
        expect(await readAll(await readerOf(b, key))).toEqual({ entries: ['one'], state: 'lost' })
      }),
    )

    it(
      'abandons its log only when nobody reads it, if it is asked so',
      run(async ({ a, b }) => {
        const key = newKey()
        const writer = await writerOf(a, key)
        const heard = watchOf(writer)
        const reader = await readerOf(b, key)
        void reader.read()
        await expect.poll(() => heard.readers, { timeout: LONG }).toBeGreaterThan(0)
        expect(await writer.abandonUnread()).toBe(false)
        writer.append('still here')
        reader.leave()
        await expect.poll(() => writer.abandonUnread(), { timeout: LONG }).toBe(true)
        expect((await readAll(await readerOf(b, key))).state).toBe('lost')
      }),
    )

    it(
      'learns how many readers there are elsewhere',
      run(async ({ a, b }) => {
        const key = newKey()
        const heard = watchOf(await writerOf(a, key))
        const reader = await readerOf(b, key)
        void reader.read()
        await expect.poll(() => heard.readers, { timeout: LONG }).toBeGreaterThan(0)
        reader.leave()
        await expect.poll(() => heard.readers, { timeout: LONG }).toBe(0)
        expect(heard).toMatchObject({ lost: 0, stopped: 0 })
      }),
    )

    it(
      'that is killed leaves what it has written, and a loss, and others can begin anew',
      run(async ({ a, b, kill }) => {
        const key = newKey()
        const writer = await writerOf(a, key)
        const reader = await readerOf(b, key)
        writer.append('written')
        expect(await readSome(reader, 1)).toEqual(['written'])
        kill(0)
        writer.append('too late')
        expect(await readAll(reader)).toEqual({ entries: [], state: 'lost' })
        expect(await readAll(await readerOf(b, key))).toEqual({
          entries: ['written'],
          state: 'lost',
        })
        const next = await writerOf(b, key)
        next.end('anew')
        expect((await readAll(await readerOf(b, key))).entries).toEqual(['anew'])
      }),
      60_000,
    )
  })

  describe('stop', () => {
    it(
      'asks the writer, whoever it is, and reports whether the log exists',
      run(async ({ a, b }) => {
        const key = newKey()
        expect(await b.stop(key)).toBe(false)
        const writer = await writerOf(a, key)
        const heard = watchOf(writer)
        await readerOf(b, key)
        expect(await b.stop(key)).toBe(true)
        await expect.poll(() => heard.stopped, { timeout: LONG }).toBe(1)
        writer.end('stopped')
        await readAll(await readerOf(b, key))
        expect(await b.stop(key)).toBe(true)
        expect(heard).toMatchObject({ lost: 0, stopped: 1 })
      }),
    )
  })

  describe('a log', () => {
    it(
      'stays readable for a while after its end, and is then gone',
      run(async ({ a, b }) => {
        const key = newKey()
        const writer = await writerOf(a, key, { keepMs: 300 })
        writer.end('short')
        expect((await readAll(await readerOf(b, key))).entries).toEqual(['short'])
        await expect.poll(() => b.follow(key, 0), { timeout: LONG }).toBe(undefined)
        expect(await b.stop(key)).toBe(false)
      }),
    )

    it(
      'that is full and trimmed forgets its oldest entries, and never its last',
      run(async ({ a, b }) => {
        for (const options of [{ maxEntries: 5 }, { maxLength: 15 }]) {
          const key = newKey()
          const writer = await writerOf(a, key, options)
          for (let i = 10; i < 99; i++) writer.append(`n${i}`)
          writer.end('the last of them is long')
          const isThere = async () => (await readAll(await readerOf(b, key, 89))).entries.length
          await expect.poll(isThere, { timeout: LONG }).toBe(1)
          expect(await readAll(await readerOf(b, key))).toEqual({ entries: [], state: 'trimmed' })
          expect(await readAll(await readerOf(b, key, 89))).toEqual({
            entries: ['the last of them is long'],
            state: 'ended',
          })
        }
      }),
    )

    it(
      'that is full and closed admits no new readers, but serves existing ones',
      run(async ({ a, b }) => {
        const key = newKey()
        const options = { maxEntries: 5, whenFull: 'close' } as const
        const writer = await writerOf(a, key, options)
        const claim = await b.claim(key, { ...OPTIONS, ...options })
        const { reader } = claim as { reader: LogReader }
        const all = readAll(reader)
        for (let i = 0; i < 8; i++) writer.append(`n${i}`)
        await expect
          .poll(() => b.claim(key, { ...OPTIONS, ...options }), { timeout: LONG })
          .toBe('full')
        writer.end('last')
        expect(await all).toEqual({
          entries: ['n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7', 'last'],
          state: 'ended',
        })
      }),
    )
  })
}
