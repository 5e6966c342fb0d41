import { tracingChannel } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { createBlossom } from '../../../src/client/client.js'
import { onEvent, type StackEvent, type TimelineEntry } from '../../../src/core/index.js'
import { retry } from '../../../src/layers/retry/index.js'
import { standard } from '../../../src/standard.js'
import { startLocalBlossom } from '../../../src/testing/local-blossom/index.js'
import { KEY, PROMPT } from '../../support/secrets.js'
import { failure } from '../../support/watch.js'

const closing: { close(): Promise<void> | void }[] = []
const kept = <T extends { close(): Promise<void> | void }>(thing: T): T => {
  closing.push(thing)
  return thing
}
afterEach(async () => {
  for (const thing of closing.splice(0).reverse()) await thing.close()
})

const typesOf = (events: readonly { type: string }[]) => events.map(({ type }) => type)

describe("the client's events", () => {
  it('never contain a prompt, a key or anything upstream said', async () => {
    const upstream = kept(
      await startLocalBlossom({ keys: [KEY], reply: () => `You said ${PROMPT}.` }),
    )
    const seen: unknown[] = []
    const see = (message: unknown) => void seen.push(structuredClone(message))
    const tracing = { start: see, end: see, asyncStart: see, asyncEnd: see, error: see }
    const channels = tracingChannel('blossom-stack:call')
    channels.subscribe(tracing as never)
    kept({ close: () => void channels.unsubscribe(tracing as never) })
    kept({ close: onEvent(see) })
    const blossom = kept(
      createBlossom({ apiKey: KEY, baseURL: upstream.url, onEvent: see }).use(...standard()),
    )
    const meta = new Map<string, unknown>()
    await blossom.text.generate(PROMPT, { tenant: 'gold', meta })
    await blossom.text.generate(PROMPT, { tenant: 'gold' })
    for await (const _ of await blossom.text.stream(`${PROMPT} again`)) break
    await blossom.image.generate(PROMPT)
    upstream.fault({ status: 400 })
    await failure(blossom.text.generate(`${PROMPT}?`))
    upstream.fault({ cutAfterChunks: 2 })
    const broken = await blossom.text.stream(`${PROMPT}!`)
    await failure(
      (async () => {
        for await (const _ of broken);
      })(),
    )
    await failure(blossom.text.generate(`${PROMPT}.`, { apiKey: `${KEY}-of-nobody` }))
    upstream.fault({ hang: true })
    await failure(blossom.text.generate(`${PROMPT},`, { signal: AbortSignal.timeout(1) }))
    const said = inspect([seen, meta.get('timeline')], {
      depth: 9,
      maxArrayLength: null,
      maxStringLength: null,
    })
    expect(said).toContain('BAD_REQUEST')
    expect(said).toContain('STREAM')
    expect(said).toContain('AUTH')
    expect(said).not.toContain(KEY)
    // Its number may as well be a time.
    expect(said).not.toContain(PROMPT.split(' ')[0])
    expect(said).not.toMatch(/You said|http|\/v1\//)
  })

  it('go to the listener of its own calls, in order', async () => {
    const upstream = kept(await startLocalBlossom())
    const heard: StackEvent[] = []
    const blossom = kept(
      createBlossom({ baseURL: upstream.url, onEvent: (event) => void heard.push(event) }).use(
        ...standard(),
      ),
    )
    const other = kept(createBlossom({ baseURL: upstream.url }))
    await other.text.generate('Hello')
    expect(heard).toEqual([])
    const stream = await blossom.text.stream('Hello')
    expect(typesOf(heard)).toEqual(['call:start', 'cache', 'attempt:start', 'first-token'])
    for await (const _ of stream);
    expect(typesOf(heard.slice(4))).toEqual(['attempt:end', 'call:end'])
    expect(new Set(heard.map(({ stack }) => stack))).toEqual(new Set(['blossom']))
    heard.length = 0
    await blossom.text.generate('Hello')
    expect(heard.slice(1)).toMatchObject([
      { type: 'cache', status: 'hit' },
      { type: 'call:end', attempts: 0, outcome: 'complete' },
    ])
  })

  it('report retries with their error code, and add a timeline to the meta of a caller who passes one', async () => {
    const upstream = kept(await startLocalBlossom())
    const blossom = kept(createBlossom({ baseURL: upstream.url }).use(retry({ minDelayMs: 1 })))
    upstream.fault({ status: 503 })
    const meta = new Map<string, unknown>()
    await blossom.text.generate('Hello', { meta })
    const timeline = meta.get('timeline') as TimelineEntry[]
    expect(typesOf(timeline)).toEqual([
      'call:start',
      'attempt:start',
      'attempt:end',
      'retry',
      'attempt:start',
      'attempt:end',
      'call:end',
    ])
    expect(timeline[2]).toMatchObject({ attempt: 1, outcome: 'failed', code: 'SERVER' })
  })
})
