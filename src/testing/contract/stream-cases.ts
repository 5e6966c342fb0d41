import assert from 'node:assert/strict'
import { collect } from '../../core/index.js'
import { Caller, failure, mistake, type Run, Source, timers, turn } from './trial.js'

const chunks = () => ['one', '', { two: [2] }, 0, null, Buffer.from([3, 0, 3]), 'last']

export const streamCases: Record<string, Run> = {
  'passes the chunks of a stream through unchanged and in order': async ({ around }) => {
    const trial = around(() => new Source(chunks()))
    assert.deepStrictEqual(await collect(await trial.stream(1)), chunks())
  },

  'passes a stream without chunks through': async ({ around }) => {
    const trial = around(() => new Source([]))
    assert.deepStrictEqual(await collect(await trial.stream(1)), [])
  },

  'passes the error of a broken stream through unchanged, after its chunks': async ({ around }) => {
    const error = mistake()
    const trial = around(() => new Source(['one', 'two'], { error }))
    const got: unknown[] = []
    const read = async () => {
      for await (const chunk of await trial.stream(1)) got.push(chunk)
    }
    assert.equal(await failure(read()), error)
    assert.deepStrictEqual(got, ['one', 'two'])
    await trial.over('failed')
  },

  'ends once at the last chunk': async ({ around }) => {
    const trial = around(() => new Source(chunks()))
    await collect(await trial.stream(1))
    await trial.over('complete')
  },

  'ends once when the reader stops early, and closes the source': async ({ around }) => {
    const source = new Source(['one', 'two'], 'silence')
    const trial = around(() => source)
    for await (const chunk of await trial.stream(1)) {
      assert.equal(chunk, 'one')
      break
    }
    await trial.over('left', 'failed')
    assert.equal(source.left, 1)
  },

  "ends once when the caller aborts in the middle, with the caller's reason": async ({
    around,
  }) => {
    const source = new Source(['one'], 'silence')
    const trial = around(() => source)
    const caller = new Caller()
    const stream = await trial.stream(1, { signal: caller.signal })
    assert.deepStrictEqual(await stream.next(), { done: false, value: 'one' })
    const waiting = failure(stream.next())
    await turn()
    caller.leave()
    assert.equal(await waiting, caller.reason)
    assert.deepStrictEqual(await stream.next(), { done: true, value: undefined })
    await trial.over('failed')
    assert.equal(source.left, 1)
  },

  'ends once when nobody reads and the caller aborts': async ({ around }) => {
    const source = new Source(['one'], 'silence')
    const trial = around(() => source)
    const caller = new Caller()
    const stream = await trial.stream(1, { signal: caller.signal })
    caller.leave()
    await trial.over('failed')
    assert.equal(await failure(stream.next()), caller.reason)
    assert.equal(source.left, 1)
  },

  'leaves no timer and no listener behind after a stream': async ({ around }) => {
    const before = timers()
    const trial = around(() => new Source(['one', 'two']))
    const { signal } = new Caller()
    const options = { signal, timeoutMs: 60_000 }
    await collect(await trial.stream(1, options))
    await trial.clean(before, signal, 'A stream that was read to its end')
    for await (const _ of await trial.stream(2, options)) break
    await trial.clean(before, signal, 'A stream that its reader stopped reading')
  },

  'does not mix the chunks of concurrent streams': async ({ around }) => {
    const chunksOf = (n: number) => [`${n}: one`, `${n}: two`, `${n}: three`]
    const trial = around((asked) => new Source(chunksOf(trial.numberOf(asked))))
    const numbers = [0, 1, 2, 3, 4]
    const read = numbers.map(async (n) => collect(await trial.stream(n)))
    assert.deepStrictEqual(await Promise.all(read), numbers.map(chunksOf))
  },

  'lets a started stream finish when the stack closes': async ({ around }) => {
    const trial = around(() => new Source(['one', 'two', 'three']))
    const stream = await trial.stream(1)
    const first = await stream.next()
    const closed = trial.stack.close()
    assert.deepStrictEqual([first.value, ...(await collect(stream))], ['one', 'two', 'three'])
    await closed
  },
}
