import { describe, expect, it, vi } from 'vitest'
import { base, type EntriesWatcher, type SharedEntries, stack } from '../../../../src/core/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { gate } from '../../../support/gate.js'
import { onlyShared } from '../../../support/only-shared.js'

/** What other processes have, answered when the test likes. */
class Others implements SharedEntries {
  readonly texts = new Map<string, string>()
  readonly watchers: EntriesWatcher[] = []
  isThere = true
  /** While it is set, answers wait for it. */
  hold: Promise<void> | undefined

  async get(key: string) {
    const text = this.isThere ? this.texts.get(key) : null
    await this.hold
    return text
  }
  set(key: string, text: string) {
    this.texts.set(key, text)
  }
  delete = async (key: string) => this.texts.delete(key)
  clear = async () => this.texts.clear()
  watch(watcher: EntriesWatcher) {
    this.watchers.push(watcher)
  }
  tell(happened: (watcher: EntriesWatcher) => void) {
    for (const watcher of this.watchers) happened(watcher)
  }
}

/** Two processes that share a cache. */
function processes() {
  const others = new Others()
  const asked = vi.fn(async (request: string) => `answer to ${request}`)
  const shared = onlyShared({
    entries: () => others,
  })
  const make = () => stack(base(asked, { name: 'ask' }), cache({ shared }))
  return { others, asked, one: make(), two: make() }
}

describe('a cache in two levels', () => {
  it.each<[string, (watcher: EntriesWatcher, key: string) => void]>([
    ['deletes it', ({ deleted }, key) => deleted(key)],
    ['clears all', ({ cleared }) => cleared()],
    ['may have done so', ({ missed }) => missed()],
  ])('does not keep in memory an answer fetched while another process %s', async (_, happened) => {
    const { others, one, two } = processes()
    await one('Hi')
    const [key = ''] = others.texts.keys()
    const answered = gate()
    others.hold = answered.promise
    const call = two('Hi')
    others.tell((watcher) => happened(watcher, key))
    answered.open()
    expect(await call).toBe('answer to Hi')
    // Where all was cleared it has asked anew, and that answer is its own.
    const { hits, entries } = two.stats().cache
    expect(entries).toBe(hits === 0 ? 1 : 0)
  })

  it('keeps a fetched answer in memory otherwise', async () => {
    const { asked, one, two } = processes()
    await one('Hi')
    await two('Hi')
    expect(two.stats().cache).toMatchObject({ hits: 1, entries: 1 })
    expect(asked).toHaveBeenCalledTimes(1)
  })

  it('drops what is in memory when another process may have forgotten it', async () => {
    const { others, one } = processes()
    await one('Hi')
    others.tell(({ missed }) => missed())
    expect(one.stats().cache.entries).toBe(0)
    await one('Hi')
    expect(one.stats().cache).toMatchObject({ hits: 1, misses: 1 })
  })

  it('does not store an answer that was under way when another process cleared the cache', async () => {
    const { others, asked, one } = processes()
    const answered = gate<string>()
    asked.mockImplementationOnce(() => answered.promise)
    const call = one('Hi')
    await vi.waitFor(() => expect(asked).toHaveBeenCalled())
    others.tell(({ cleared }) => cleared())
    answered.open('late')
    expect(await call).toBe('late')
    expect(one.stats().cache.entries).toBe(0)
    expect(others.texts.size).toBe(0)
  })

  it('notes that it could not reach the other processes', async () => {
    const { others, one } = processes()
    others.isThere = false
    const meta = new Map<string, unknown>()
    expect(await one('Hi', { meta })).toBe('answer to Hi')
    expect(meta.get('cache')).toMatchObject({ status: 'miss', alone: true })
  })
})
