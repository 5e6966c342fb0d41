import { describe, expect, it } from 'vitest'
import { queue, retry, stack, timeout } from '../../../src/index.js'
import { chunkSource, scripted } from '../../../src/testing/scripted.js'

describe('scripted', () => {
  it('plays one step for each call and repeats the last', async () => {
    const upstream = scripted<string, string>([
      new Error('down'),
      (request) => `to ${request}`,
      'again',
    ])
    const ask = stack(upstream, retry({ minDelayMs: 0 }))
    expect(await ask('Hi')).toBe('to Hi')
    expect(await ask('Hi')).toBe('again')
    expect(await ask('Hi')).toBe('again')
    expect(upstream.calls.map(({ request }) => request)).toEqual(['Hi', 'Hi', 'Hi', 'Hi'])
    expect(upstream.running).toBe(0)
  })

  it('reports which calls were aborted', async () => {
    const upstream = scripted<string, never>([() => new Promise(() => {})])
    const ask = stack(upstream)
    const leaving = new AbortController()
    const call = ask('Hi', { signal: leaving.signal })
    expect(upstream.running).toBe(1)
    leaving.abort(new Error('gone'))
    await expect(call).rejects.toThrow('gone')
    expect(upstream.calls[0]?.aborted).toBe(true)
  })

  it('refuses an empty script', () => {
    expect(() => scripted([])).toThrow('at least one step')
  })
})

describe('chunkSource', () => {
  it('gives its chunks and ends, every time it is read', async () => {
    const source = chunkSource([1, 2])
    const ask = stack(scripted<void, AsyncIterable<number>>([() => source]))
    for (let round = 0; round < 2; round++) {
      const read: number[] = []
      for await (const chunk of await ask()) read.push(chunk)
      expect(read).toEqual([1, 2])
    }
    expect(source).toMatchObject({ sent: 4, open: 0, left: 0 })
  })

  it('fails after its chunks', async () => {
    const ask = stack(() => chunkSource(['a'], { error: new Error('cut') }))
    const stream = await ask()
    expect(await stream.next()).toEqual({ done: false, value: 'a' })
    await expect(stream.next()).rejects.toThrow('cut')
  })

  it('stays silent until its reader leaves', async () => {
    const source = chunkSource(['a'], { stall: true })
    const ask = stack(() => source, queue({ concurrency: 1 }))
    const stream = await ask()
    await stream.next()
    const silent = stream.next()
    expect(source.open).toBe(1)
    await stream.return(undefined)
    expect(await silent).toEqual({ done: true, value: undefined })
    expect(source).toMatchObject({ open: 0, left: 1 })
    expect(ask.stats().queue.running).toBe(0)
  })

  it('waits before each chunk', async () => {
    const ask = stack(() => chunkSource(['a', 'b'], { delayMs: 60_000 }), timeout({ ms: 20 }))
    await expect(ask()).rejects.toMatchObject({ code: 'TIMEOUT' })
  })
})
