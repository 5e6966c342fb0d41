import { fork } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  type BatchClient,
  type Batches,
  type BatchesOptions,
  createBatches,
} from '../../../src/batches/index.js'
import { ConfigError } from '../../../src/index.js'
import { all, clientOf, echo, numbered } from '../../support/batches-contract.js'
import { failure } from '../../support/watch.js'

let directory: string
const opened: Batches[] = []
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'blossom-directory-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  for (const batches of opened.splice(0)) await batches.close({ timeoutMs: 0 })
  rmSync(directory, { recursive: true, force: true })
})

function start(blossom: BatchClient = clientOf(echo), options: BatchesOptions = {}): Batches {
  const batches = createBatches(blossom, { directory, ...options })
  opened.push(batches)
  return batches
}

/** The folder of the only batch. */
function onlyFolder(): string {
  const [name] = readdirSync(join(directory, 'batches'))
  return join(directory, 'batches', name!)
}
const logOf = (folder = onlyFolder()) => join(folder, 'log.jsonl')

/** A batch of which some lines are done, as a process leaves it. */
async function half(total: number, done: number): Promise<string[]> {
  const batches = start(
    clientOf(({ n }, { signal }) =>
      (n as number) < done
        ? { n, by: 'first' }
        : new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    ),
  )
  await batches.create(numbered(total), { id: 'half' })
  batches.worker()
  await expect.poll(async () => (await batches.status('half')).requestCounts.completed).toBe(done)
  await batches.close({ timeoutMs: 0 })
  return readFileSync(logOf(), 'utf8').split('\n')
}

describe('a directory', () => {
  it('keeps finished results for the next process, which runs the rest', async () => {
    await half(10, 4)
    const asked: unknown[] = []
    const batches = start(
      clientOf(({ n }) => {
        asked.push(n)
        return { n, by: 'second' }
      }),
    )
    expect((await batches.status('half')).requestCounts).toMatchObject({ total: 10, completed: 4 })
    batches.worker()
    const results = await all(batches.results('half'))
    expect(results.map((result) => result.ok && result.answer)).toEqual(
      numbered(10).map(({ n }) => ({ n, by: n < 4 ? 'first' : 'second' })),
    )
    // Several lines run at a time, in no order.
    expect(asked.toSorted()).toEqual([4, 5, 6, 7, 8, 9])
    // Nobody needs the lines any more, and the results are there for the next one.
    await expect.poll(() => existsSync(join(onlyFolder(), 'lines.jsonl'))).toBe(false)
    await batches.close()
    const later = start()
    expect(await all(later.results('half'))).toEqual(results)
    expect((await later.status('half')).status).toBe('completed')
    await later.create(numbered(10), { id: 'half' })
    expect(await failure(later.create(numbered(9), { id: 'half' }))).toMatchObject({
      code: 'VALIDATION',
    })
  })

  it.each([1, 7, 30])('drops a last line that is missing %i bytes', async (missing) => {
    await half(8, 5)
    const path = logOf()
    const results = readFileSync(path, 'utf8').trimEnd().split('\n')
    const last = results.findLastIndex((line) => line.includes('"kind"'))
    writeFileSync(path, `${results.slice(0, last + 1).join('\n')}\n`)
    truncateSync(path, statSync(path).size - missing)
    const asked: unknown[] = []
    const batches = start(
      clientOf(({ n }) => {
        asked.push(n)
        return {}
      }),
    )
    expect((await batches.status('half')).requestCounts.completed).toBe(4)
    batches.worker()
    expect(await all(batches.results('half'))).toHaveLength(8)
    expect(asked).toHaveLength(4)
    for (const line of readFileSync(path, 'utf8').trimEnd().split('\n'))
      expect(() => JSON.parse(line)).not.toThrow()
  })

  it('counts a duplicated result once and skips malformed lines', async () => {
    await half(8, 5)
    const path = logOf()
    const result = readFileSync(path, 'utf8')
      .split('\n')
      .find((line) => line.includes('"kind"'))!
    appendFileSync(path, `${result}\n\u0000\u0000\n{"nonsense":1}\n${result}\n`)
    const batches = start()
    expect((await batches.status('half')).requestCounts.completed).toBe(5)
    batches.worker()
    expect(await all(batches.results('half'))).toHaveLength(8)
  })

  it('continues an unfinished cancellation and recognises a complete one', async () => {
    await half(600, 1)
    const path = logOf()
    appendFileSync(path, `${JSON.stringify({ close: 'cancelling', at: 5 })}\n`)
    const batches = start()
    expect(await batches.status('half')).toMatchObject({
      status: 'cancelled',
      requestCounts: { total: 600, completed: 1, failed: 0 },
    })
    expect(await all(batches.results('half'))).toHaveLength(600)
    await batches.close()
    expect((await start().status('half')).status).toBe('cancelled')
  })

  it('ends a batch whose last result was written but whose end was not', async () => {
    await half(3, 3)
    const header = join(onlyFolder(), 'batch.json')
    const { ended, ...rest } = JSON.parse(readFileSync(header, 'utf8'))
    expect(ended.status).toBe('completed')
    writeFileSync(header, JSON.stringify(rest))
    writeFileSync(
      join(onlyFolder(), 'lines.jsonl'),
      numbered(3)
        .map(({ n }) => `${JSON.stringify({ key: String(n), text: '{}' })}\n`)
        .join(''),
    )
    const batches = start()
    expect((await batches.status('half')).status).toBe('completed')
    expect(await all(batches.results('half'))).toHaveLength(3)
  })

  it('gives up on a line that was running when the process died ten times', async () => {
    await half(3, 0)
    appendFileSync(logOf(), `${JSON.stringify({ begin: '1' })}\n`.repeat(10))
    const asked: unknown[] = []
    const batches = start(clientOf(({ n }) => asked.push(n)))
    batches.worker()
    const results = await all(batches.results('half'))
    expect(results[1]).toMatchObject({ customId: '1', ok: false, error: { code: 'lost' } })
    expect(asked.sort()).toEqual([0, 2])
    expect(batches.stats().lost).toBe(1)
    expect((await batches.status('half')).requestCounts).toEqual({
      total: 3,
      completed: 2,
      failed: 1,
    })
  })

  it('discards a batch or upload that was incomplete when the process died', async () => {
    await half(2, 0)
    const unfinished = join(directory, 'unfinished', 'half-uploaded')
    writeFileSync(unfinished, 'x')
    rmSync(join(onlyFolder(), 'batch.json'))
    const batches = start()
    expect(await failure(batches.status('half'))).toMatchObject({ code: 'NOT_FOUND' })
    expect(existsSync(unfinished)).toBe(false)
  })

  it('forgets a batch and its folder after keepMs', async () => {
    const batches = start(clientOf(echo), { keepMs: 1_000 })
    const { id } = await batches.create(numbered(1))
    batches.worker()
    await all(batches.results(id))
    await expect
      .poll(async () => await batches.status(id).catch(({ code }) => code), { timeout: 10_000 })
      .toBe('NOT_FOUND')
    expect(readdirSync(join(directory, 'batches'))).toEqual([])
  })

  it('rejects a batch that cannot be written to disk, and holds an answer until it can be', async () => {
    const batches = start(clientOf(() => ({ n: 1 })))
    await batches.create(numbered(1), { id: 'first' })
    const handle = await open(join(directory, 'x'), 'w')
    const prototype = Object.getPrototypeOf(handle)
    await handle.close()
    const full = Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' })
    vi.spyOn(prototype, 'appendFile').mockRejectedValueOnce(full)
    expect(await failure(batches.create(numbered(1), { id: 'second' }))).toMatchObject({
      status: 503,
      retryable: true,
      cause: full,
    })
    expect(await failure(batches.status('second'))).toMatchObject({ code: 'NOT_FOUND' })
    const { write } = prototype
    let times = 0
    // Half of it is written, then nothing goes.
    vi.spyOn(prototype, 'write').mockImplementation(async function (this: unknown, ...args) {
      const [bytes, from, count, at] = args as [Buffer, number, number, number]
      if (!bytes.toString().includes('"kind"') || ++times > 3) return write.apply(this, args)
      if (times > 1) throw full
      return write.call(this, bytes, from, Math.ceil(count / 2), at)
    })
    batches.worker()
    expect(await all(batches.results('first'))).toEqual([
      { customId: '0', ok: true, answer: { n: 1 } },
    ])
    expect(times).toBeGreaterThan(3)
    vi.restoreAllMocks()
    await batches.close()
    expect(await all(start().results('first'))).toHaveLength(1)
  })

  it('hides prompts from other users of the machine', async () => {
    await half(2, 1)
    if (process.platform === 'win32') return
    for (const name of ['batch.json', 'lines.jsonl', 'log.jsonl'])
      expect([name, statSync(join(onlyFolder(), name)).mode & 0o077]).toEqual([name, 0])
    expect(statSync(onlyFolder()).mode & 0o077).toBe(0)
  })
})

describe('the lock of a directory', () => {
  const lockOf = () => readdirSync(directory).filter((name) => name.startsWith('lock'))
  const inUse = () => {
    try {
      start()
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError)
      return (error as Error).message
    }
    return undefined
  }

  it('has one holder at a time, and passes to the next on release', async () => {
    const first = start()
    expect(inUse()).toContain(`the directory is in use by process ${process.pid}`)
    await first.close()
    await start().close()
    await start().close()
    expect(lockOf()).toEqual(['lock-3'])
  })

  it('is released when its process is killed', { timeout: 60_000 }, async () => {
    const program = join(import.meta.dirname, '../../support/batch-process.ts')
    const child = fork(program, [directory, '1000'], { execArgv: ['--import', 'tsx'] })
    await once(child, 'message')
    expect(inUse()).toContain(`in use by process ${child.pid};`)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(inUse()).toBeUndefined()
  })

  it('is released when its process id now belongs to another process', () => {
    start()
    const path = join(directory, 'lock-1')
    const holder = JSON.parse(readFileSync(path, 'utf8'))
    writeFileSync(path, JSON.stringify({ ...holder, started: 'before' }))
    expect(inUse()).toBeUndefined()
  })

  it('is released when the machine that holds it has long been silent', () => {
    start()
    const path = join(directory, 'lock-1')
    const holder = JSON.parse(readFileSync(path, 'utf8'))
    writeFileSync(path, JSON.stringify({ ...holder, place: 'elsewhere' }))
    expect(inUse()).toContain('the directory is in use by')
    const long = Date.now() / 1_000 - 60
    utimesSync(path, long, long)
    expect(inUse()).toBeUndefined()
  })

  it('is released when a failing disk has left only part of it', () => {
    writeFileSync(join(directory, 'lock-7'), '')
    expect(inUse()).toBeUndefined()
    expect(lockOf()).toEqual(['lock-8'])
  })
})
