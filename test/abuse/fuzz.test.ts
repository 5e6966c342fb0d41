import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBlossom, type ErrorCode, StackError } from '../../src/index.js'
import { everythingOf, KEY, PROMPT } from '../support/secrets.js'
import { catchWarnings } from '../support/warnings.js'
import { turn } from '../support/watch.js'
import { chatEvents, chunk, completion, event } from '../support/wire.js'
import { cut, type Script, scriptedDispatcher } from './dispatcher.js'

let unhandled: unknown[]
const onUnhandled = (reason: unknown) => void unhandled.push(reason)
beforeEach(() => {
  catchWarnings()
  unhandled = []
  process.on('unhandledRejection', onUnhandled)
})
afterEach(async () => {
  await turn()
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
  vi.restoreAllMocks()
})

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const SSE = { 'content-type': 'text/event-stream' }

/** A call's whole life: what came, and what it ended with. */
async function live(
  script: Script,
  call: 'generate' | 'stream' | 'embed' | 'image' | 'models' | 'raw',
  maxResponseBytes = 100_000,
) {
  const dispatcher = scriptedDispatcher(() => script)
  const blossom = createBlossom({
    baseURL: 'http://blossom.invalid',
    apiKey: KEY,
    dispatcher,
    maxResponseBytes,
  })
  const pieces: string[] = []
  let error: unknown
  try {
    if (call === 'stream')
      for await (const { text } of await blossom.text.stream(PROMPT)) pieces.push(text)
    else if (call === 'generate') pieces.push((await blossom.text.generate(PROMPT)).text)
    else if (call === 'embed') await blossom.embeddings.create([PROMPT, 'b'])
    else if (call === 'image') await blossom.image.generate(PROMPT)
    else if (call === 'models') await blossom.models.list()
    else await blossom.request({ path: '/x', body: { prompt: PROMPT } })
  } catch (thrown) {
    error = thrown
  }
  // Whoever may still wait for a socket: nothing runs any more.
  await blossom.close({ timeoutMs: 60_000 })
  const [exchange] = dispatcher.exchanges
  expect(dispatcher.exchanges).toHaveLength(1)
  await Promise.resolve()
  expect(exchange?.over || exchange?.aborted).toBe(true)
  return { pieces, error, text: pieces.join('') }
}

/** What an answer from outside may make of a call. */
const CODES: readonly ErrorCode[] = [
  ...(['AUTH', 'PAYMENT', 'FORBIDDEN', 'NOT_FOUND', 'RATE_LIMITED', 'BAD_REQUEST'] as const),
  ...(['SERVER', 'NETWORK', 'TIMEOUT', 'PROTOCOL', 'STREAM', 'TOO_LARGE'] as const),
]

/** An error is one of ours, tells nothing, and its numbers are numbers. */
function expectTyped(error: unknown): void {
  expect(error).toBeInstanceOf(StackError)
  const { code, status, retryAfter, message } = error as StackError
  expect(CODES).toContain(code)
  expect(status).toBeGreaterThanOrEqual(400)
  expect(status).toBeLessThan(600)
  expect(retryAfter === undefined || (Number.isFinite(retryAfter) && retryAfter >= 0)).toBe(true)
  expect(message.length).toBeLessThan(300)
  const said = everythingOf(error)
  for (const secret of [
    KEY,
    PROMPT,
    'Cannot read properties',
    'is not a function',
    'is not iterable',
  ])
    expect(said).not.toContain(secret)
}

const places = fc.array(fc.nat(), { maxLength: 12 })

/** A change to bytes: some are dropped, put in, turned round or repeated. */
const change = fc.oneof(
  fc.record({ kind: fc.constant('drop' as const), at: fc.nat(), count: fc.nat({ max: 20 }) }),
  fc.record({
    kind: fc.constant('put' as const),
    at: fc.nat(),
    bytes: fc.uint8Array({ maxLength: 12 }),
  }),
  fc.record({
    kind: fc.constant('turn' as const),
    at: fc.nat(),
    by: fc.integer({ min: 1, max: 255 }),
  }),
  fc.record({ kind: fc.constant('repeat' as const), at: fc.nat(), count: fc.nat({ max: 200 }) }),
  fc.record({
    kind: fc.constant('say' as const),
    at: fc.nat(),
    text: fc.constantFrom(
      '\n\n',
      'data: ',
      '\r',
      ':',
      '[DONE]',
      'null',
      '{"error":{"code":"x"}}',
      '"__proto__":{"a":1},',
    ),
  }),
)
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never

function changed(bytes: Uint8Array, changes: readonly Change[]): Uint8Array {
  let all = Buffer.from(bytes)
  for (const one of changes) {
    const at = one.at % (all.length + 1)
    const [head, tail] = [all.subarray(0, at), all.subarray(at)]
    if (one.kind === 'drop') all = Buffer.concat([head, tail.subarray(one.count)])
    else if (one.kind === 'put') all = Buffer.concat([head, one.bytes, tail])
    else if (one.kind === 'say') all = Buffer.concat([head, Buffer.from(one.text), tail])
    else if (one.kind === 'repeat') all = Buffer.concat([head, tail.subarray(0, one.count), tail])
    else if (tail.length > 0)
      all = Buffer.concat([head, Buffer.from([tail[0]! ^ one.by]), tail.subarray(1)])
  }
  return all
}

describe('a stream', () => {
  const words = fc.array(fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }), {
    minLength: 1,
    maxLength: 8,
  })

  it('gives its exact text and ends well, however its bytes are split', async () => {
    await fc.assert(
      fc.asyncProperty(words, places, async (texts, at) => {
        const { text, error } = await live(
          { headers: SSE, pieces: cut(bytesOf(chatEvents(...texts)), at) },
          'stream',
        )
        expect(error).toBeUndefined()
        // JSON keeps half a surrogate pair by its escape.
        expect(text).toBe(texts.join(''))
      }),
      { numRuns: 100 },
    )
  })

  it('that is cut short gives the start of its text and never looks complete', async () => {
    await fc.assert(
      fc.asyncProperty(words, fc.nat(), places, fc.boolean(), async (texts, length, at, breaks) => {
        const whole = bytesOf(
          texts.map((content) => event(chunk({ content }))).join('') + event(chunk({}, 'stop')),
        )
        const kept = whole.subarray(0, length % whole.length)
        const script = {
          headers: SSE,
          pieces: cut(kept, at),
          ...(breaks && { error: new Error('socket hang up') }),
        }
        const { text, error } = await live(script, 'stream')
        expectTyped(error)
        expect(texts.join('').startsWith(text)).toBe(true)
      }),
      { numRuns: 100 },
    )
  })

  it('of changed bytes ends well or as one of the errors promised', async () => {
    const source = bytesOf(
      chatEvents('Hello', ', ', 'world') + event({ choices: [], usage: { total_tokens: 3 } }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { minLength: 1, maxLength: 6 }),
        places,
        async (changes, at) => {
          const { error, pieces } = await live(
            { headers: SSE, pieces: cut(changed(source, changes), at) },
            'stream',
          )
          if (error !== undefined) expectTyped(error)
          expect(pieces.every((piece) => typeof piece === 'string' && piece !== '')).toBe(true)
          expect(({} as { a?: unknown }).a).toBeUndefined()
        },
      ),
      { numRuns: 250 },
    )
  })

  it('of events that are any JSON ends well or as one of the errors promised', async () => {
    const delta = fc.record(
      {
        content: fc.anything(),
        reasoning_content: fc.anything(),
        refusal: fc.anything(),
        audio: fc.jsonValue(),
        tool_calls: fc.oneof(
          fc.jsonValue(),
          fc.array(
            fc.record({ index: fc.jsonValue(), id: fc.jsonValue(), function: fc.jsonValue() }),
          ),
        ),
      },
      { requiredKeys: [] },
    )
    const choice = fc.record(
      {
        index: fc.jsonValue(),
        delta: fc.oneof(delta, fc.jsonValue()),
        finish_reason: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    const one = fc.oneof(
      fc.jsonValue(),
      fc.record(
        {
          choices: fc.oneof(fc.array(choice), fc.jsonValue()),
          usage: fc.jsonValue(),
          error: fc.jsonValue(),
          model: fc.jsonValue(),
        },
        { requiredKeys: [] },
      ),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(one, { maxLength: 5 }), async (events) => {
        const text =
          events.map((data) => event(JSON.stringify(data) ?? 'null')).join('') +
          event(chunk({}, 'stop')) +
          event('[DONE]')
        const { error, pieces } = await live({ headers: SSE, pieces: [bytesOf(text)] }, 'stream')
        if (error !== undefined) expectTyped(error)
        expect(pieces.every((piece) => typeof piece === 'string')).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  it('of random bytes ends as one of the errors promised, and nothing is kept beyond its limit', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 30 }),
        fc.integer({ min: 16, max: 2_000 }),
        async (pieces, limit) => {
          const { error } = await live({ headers: SSE, pieces }, 'stream', limit)
          expectTyped(error)
          const size = pieces.reduce((sum, { length }) => sum + length, 0)
          if ((error as StackError).code === 'TOO_LARGE') expect(size).toBeGreaterThan(limit)
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('an answer', () => {
  const headerValue = fc.oneof(
    fc.string({ unit: 'binary-ascii', maxLength: 40 }),
    fc.constantFrom('5', '-1', 'Infinity', 'NaN', '1e309', KEY, `Bearer ${KEY}`),
  )
  const headers = fc.dictionary(
    fc.constantFrom(
      'retry-after',
      'retry-after-ms',
      'x-request-id',
      'content-length',
      'x-cache',
      'ratelimit',
      'content-encoding',
    ),
    fc.oneof(
      { weight: 4, arbitrary: headerValue },
      { weight: 1, arbitrary: fc.array(headerValue, { minLength: 1, maxLength: 3 }) },
    ),
    { maxKeys: 4 },
  )
  const type = fc.constantFrom(
    'application/json',
    'application/problem+json',
    'text/html',
    'text/plain',
    'image/png',
    'text/event-stream',
    '',
    ';;',
  )
  const call = fc.constantFrom('generate', 'stream', 'embed', 'image', 'models', 'raw')
  type Call = 'generate' | 'stream' | 'embed' | 'image' | 'models' | 'raw'
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.jsonValue().map((value) => bytesOf(JSON.stringify(value))),
    fc
      .record(
        { error: fc.jsonValue(), requestId: fc.jsonValue(), retryAfterSeconds: fc.jsonValue() },
        { requiredKeys: [] },
      )
      .map((value) => bytesOf(JSON.stringify(value))),
    fc.constantFrom(
      ...[
        `<html>${KEY}</html>`,
        `{"error":"${KEY}"}`,
        `{"error":{"message":"${PROMPT}","code":"${KEY}","requestId":"${KEY}"}}`,
        '',
      ].map(bytesOf),
    ),
    fc
      .array(change, { maxLength: 5 })
      .map((changes) => changed(bytesOf(JSON.stringify(completion('Hello'))), changes)),
  )

  it('of any status, head and body is an answer or one of the errors promised, which tell nothing', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 200, max: 599 }),
        headers,
        type,
        body,
        places,
        call,
        async (status, head, label, bytes, at, which) => {
          const all = label === '' ? head : { ...head, 'content-type': label }
          const { error } = await live(
            { status, headers: all, pieces: cut(bytes, at) },
            which as Call,
          )
          if (status >= 300) expect(error).toBeDefined()
          if (error !== undefined) expectTyped(error)
        },
      ),
      { numRuns: 250 },
    )
  })

  it('whose embeddings are any JSON is one vector for each input or an error', async () => {
    const item = fc.oneof(
      fc.jsonValue(),
      fc.record(
        { index: fc.jsonValue(), embedding: fc.oneof(fc.array(fc.double()), fc.jsonValue()) },
        { requiredKeys: [] },
      ),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(item, { maxLength: 3 }), async (data) => {
        const text = JSON.stringify({ data, usage: data[0], model: data[1] })
        const { error } = await live(
          { headers: { 'content-type': 'application/json' }, pieces: [bytesOf(text)] },
          'embed',
        )
        if (error !== undefined) expectTyped(error)
      }),
      { numRuns: 200 },
    )
  })
})
