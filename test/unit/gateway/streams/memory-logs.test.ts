import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { backgroundDeadlines, type LogOptions, type LogWriter } from '../../../../src/core/index.js'
import { MemoryLogs } from '../../../../src/gateway/streams/memory-logs.js'
import { LogProcess } from '../../../support/log-process.js'
import { sharedLogsContract } from '../../../support/shared-logs-contract.js'

const OPTIONS: LogOptions = {
  keepMs: 60_000,
  maxEntries: 10_000,
  maxLength: 1024 * 1024,
  whenFull: 'trim',
}

async function begin(logs: MemoryLogs, key: string, options?: Partial<LogOptions>) {
  return ((await logs.claim(key, { ...OPTIONS, ...options })) as { writer: LogWriter }).writer
}

describe('MemoryLogs', () => {
  sharedLogsContract(async (count) => {
    const logs = new MemoryLogs()
    const of = Array.from({ length: count }, () => new LogProcess(logs))
    return {
      of,
      kill: (index) => of[index]?.kill(),
      [Symbol.asyncDispose]: async () => logs.close(),
    }
  })
})

describe('the memory of MemoryLogs', () => {
  /** So large that an entry's bookkeeping does not matter. */
  const page = (letter: string) => letter.repeat(10_000)

  it('is freed first from the log that ended first', async () => {
    const logs = new MemoryLogs(100_000)
    const writers = new Map<string, LogWriter>()
    for (const key of ['a', 'b', 'c', 'open']) writers.set(key, await begin(logs, key))
    for (const [key, writer] of writers) writer.append(page(key[0] as string))
    // They end in another order than they began.
    for (const key of ['b', 'a', 'c']) writers.get(key)?.end(page(key))
    for (let i = 0; i < 3; i++) writers.get('open')?.append(page('o'))
    expect(['a', 'b', 'c', 'open'].map((key) => logs.find(key) !== undefined)).toEqual([
      true,
      false,
      true,
      true,
    ])
    logs.close()
  })

  it('is freed from the longest log when all are open', async () => {
    const logs = new MemoryLogs(100_000)
    const [long, short] = [await begin(logs, 'long'), await begin(logs, 'short')]
    short.append(page('s'))
    for (let i = 0; i < 30; i++) long.append(page('l'))
    expect(logs.bytes).toBeLessThanOrEqual(100_000)
    expect(logs.find('short')).toMatchObject({ first: 0, next: 1 })
    expect(logs.find('long')).toMatchObject({ next: 30, state: 'open' })
    expect(logs.find('long')?.first).toBeGreaterThan(20)
    logs.close()
    expect(logs.bytes).toBe(0)
  })

  it('never exceeds its limit and is counted right, whatever is written, read and forgotten', async () => {
    const LIMIT = 4_000
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ do: fc.constant('append'), size: fc.nat(600) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('end'), size: fc.nat(600) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('abandon'), size: fc.constant(0) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('delete'), size: fc.constant(0) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('read'), size: fc.constant(0) }) },
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(4), step, fc.constantFrom('trim', 'close')), { maxLength: 80 }),
        async (steps) => {
          const logs = new MemoryLogs(LIMIT)
          const writers = new Map<string, LogWriter>()
          for (const [number, { do: what, size }, whenFull] of steps) {
            const key = `${number}`
            if (logs.find(key)?.state !== 'open')
              writers.set(key, await begin(logs, key, { maxLength: 1_500, whenFull } as LogOptions))
            const writer = writers.get(key) as LogWriter
            if (what === 'append') writer.append('ж'.repeat(size / 2))
            else if (what === 'end') writer.end('e'.repeat(size))
            else if (what === 'abandon') writer.abandon()
            else if (what === 'delete') logs.delete(key)
            else void (await logs.follow(key, 0))?.read()
            await null
            // The newest entry of an open log stays: five of them are below the limit.
            expect(logs.bytes).toBeLessThanOrEqual(LIMIT)
          }
          logs.close()
          expect(logs.bytes).toBe(0)
        },
      ),
    )
  })

  it('does not count what is read from a deleted log', async () => {
    const logs = new MemoryLogs()
    const writer = await begin(logs, 'gone')
    writer.append('one')
    writer.end('two')
    const reader = await logs.follow('gone', 0)
    logs.delete('gone')
    expect(logs.bytes).toBe(0)
    expect(await logs.follow('gone', 0)).toBe(undefined)
    expect(await reader?.read()).toEqual({ entries: ['one', 'two'], state: 'ended' })
    writer.append('three')
    expect(logs.bytes).toBe(0)
  })

  it('is taken from a reader whose log is evicted', async () => {
    const logs = new MemoryLogs(50_000)
    const writer = await begin(logs, 'old')
    writer.append(page('a'))
    writer.end(page('b'))
    const reader = await logs.follow('old', 0)
    const other = await begin(logs, 'new')
    for (let i = 0; i < 4; i++) other.append(page('n'))
    expect(await reader?.read()).toEqual({ entries: [], state: 'trimmed' })
    logs.close()
  })
})

describe('the timers of MemoryLogs', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('number one per ended log, and none after close()', async () => {
    const logs = new MemoryLogs()
    for (const key of ['a', 'b']) (await begin(logs, key, { keepMs: 1_000 })).end('last')
    await begin(logs, 'open')
    await vi.advanceTimersByTimeAsync(999)
    expect(logs.find('a')).toBeDefined()
    await vi.advanceTimersByTimeAsync(1)
    expect([logs.find('a'), logs.find('b')]).toEqual([undefined, undefined])
    expect(logs.find('open')).toBeDefined()
    expect(backgroundDeadlines.size).toBe(0)
    ;(await begin(logs, 'c')).end('last')
    expect(backgroundDeadlines.size).toBe(1)
    logs.close()
    expect(backgroundDeadlines.size).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })
})
