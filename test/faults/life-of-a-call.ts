import { expect, vi } from 'vitest'
import { BEGUN, begun, goodBut, json, repeats, silent, stream } from '../support/fault-plays.js'
import { goodAnswer, goodText, promptOf } from '../support/good-answers.js'
import { chunk, event } from '../support/wire.js'
import type { Group, Method, Row } from './row.js'
import type { Outcome, Scene } from './scene.js'
import { became } from './tally.js'

/** Waits for what a row needs before it goes on. */
async function see(what: () => boolean): Promise<void> {
  if (!(await became(what))) throw new Error(`It never came to be that ${what}.`)
}

/** One call whose caller aborts it as soon as this is so. */
const aborted = (fault: string, ready: (scene: Scene) => boolean, rest: Partial<Row>): Row => ({
  fault: `the caller aborts ${fault}`,
  ends: 'the reason',
  requests: 1,
  breaker: {},
  act: async (scene) => {
    const controller = new AbortController()
    const asked = scene.ask(rest.call ?? 'text.generate', scene.token, {
      signal: controller.signal,
    })
    await see(() => ready(scene))
    controller.abort(scene.reason)
    return asked
  },
  ...rest,
})
const arrived = ({ upstream }: Scene) => upstream.reached === 1
const failedOnce = ({ attempts }: Scene) => attempts[0]?.ends === 1

type Pieces = AsyncGenerator<{ text: string }, undefined>

/** What comes of it when a reader leaves behind the first words. */
const LEFT = { ends: 'left', text: BEGUN, kept: false, requests: 1, breaker: {} } as const

/** A reader who has had the first words and then does this. */
const leaving = (
  how: string,
  leave: (pieces: Pieces, read: (piece?: { text: string }) => void) => Promise<unknown>,
): Row => ({
  fault: `the reader leaves by ${how}`,
  call: 'text.stream',
  play: stream(begun, 'silence'),
  ...LEFT,
  act: (scene) =>
    scene.call(async (read) => {
      const pieces = await scene.blossom.text.stream(promptOf(scene.token))
      await leave(pieces, (piece) => {
        read.text += piece?.text
      })
    }),
})

/** Runs this while another call holds the one slot; that one is aborted behind it. */
const whileHeld = async (scene: Scene, act: () => Promise<Outcome>): Promise<Outcome> => {
  const holder = new AbortController()
  scene.still = true
  const holding = scene.ask('text.generate', `${scene.token}.h`, { signal: holder.signal })
  await see(() => arrived(scene))
  scene.still = false
  try {
    return await act()
  } finally {
    holder.abort(scene.reason)
    await holding
  }
}

const together = (n: number, ask: (i: number) => Promise<Outcome>) =>
  Promise.all(Array.from({ length: n }, (_, i) => ask(i)))

/** Identical calls at once, of which these leave. */
const shared = (
  fault: string,
  call: Method,
  leave: readonly number[],
  rest: Partial<Row>,
): Row => ({
  fault,
  call,
  play: silent,
  ends: 'answer',
  requests: 1,
  breaker: { successes: 1 },
  act: async (scene) => {
    const controllers = [new AbortController(), new AbortController(), new AbortController()]
    const asked = controllers.map(({ signal }) => scene.ask(call, scene.token, { signal }))
    await see(() => arrived(scene) && scene.blossom.stats().dedupe.joined === 2)
    for (const i of leave) controllers[i]?.abort(scene.reason)
    for (const i of leave) expect(await asked[i]).toMatchObject({ ok: false, error: scene.reason })
    if (leave.length === 3) return asked[0]!
    await goodAnswer(scene.upstream.line!)
    const staying = await Promise.all(asked.filter((_, i) => !leave.includes(i)))
    for (const one of staying) expect(one.text).toBe(goodText(scene.token))
    return staying[0]!
  },
  ...rest,
})

const DAY = 86_400_000
const FLOOD = event(chunk({ content: 'x'.repeat(4_000) }))

export const life: Group = {
  title: 'The life of a call',
  rows: [
    aborted('before the call', () => true, {
      act: (scene) =>
        scene.ask('text.generate', scene.token, { signal: AbortSignal.abort(scene.reason) }),
      requests: 0,
    }),
    aborted('before the response', arrived, { play: silent }),
    aborted('before the response', arrived, { play: silent, call: 'image.generate' }),
    aborted('before the response', arrived, { play: silent, call: 'text.stream' }),
    aborted('during the body', arrived, {
      play: goodBut((bytes) => bytes.slice(0, -20), 'silence'),
    }),
    aborted('during an error body', arrived, { play: repeats('HTTP/1.1 500 No\r\n\r\n', 'x', 10) }),
    aborted('before the first words', arrived, {
      call: 'text.stream',
      play: stream(() => event(chunk({ role: 'assistant' })), 'silence'),
    }),
    aborted('in the middle of a stream', ({ delivered }) => delivered === BEGUN, {
      call: 'text.stream',
      play: stream(begun, 'silence'),
      text: BEGUN,
    }),
    aborted('during the wait after a 429', failedOnce, {
      play: (line) => json('{"error":{"retryAfterSeconds":2}}', 429)(line),
    }),
    aborted('during the wait after a 503', failedOnce, {
      play: json('{"retryAfterSeconds":30}', 503),
      breaker: { failures: 1 },
    }),
    leaving('break', async (pieces, read) => {
      for await (const piece of pieces) {
        read(piece)
        break
      }
    }),
    leaving('return()', async (pieces, read) => {
      read((await pieces.next()).value)
      await pieces.return(undefined)
    }),
    leaving('return() while it waits for a chunk', async (pieces, read) => {
      read((await pieces.next()).value)
      const waiting = [pieces.next(), pieces.next()]
      await pieces.return(undefined)
      expect(await Promise.all(waiting)).toEqual(Array(2).fill({ done: true, value: undefined }))
    }),
    leaving('throw()', async (pieces, read) => {
      read((await pieces.next()).value)
      await expect(pieces.throw(new Error('enough'))).rejects.toThrow('enough')
    }),
    leaving('an error in its loop', async (pieces, read) => {
      const reading = async () => {
        for await (const piece of pieces) {
          read(piece)
          throw new Error('enough')
        }
      }
      await expect(reading()).rejects.toThrow('enough')
    }),
    {
      fault: 'endless text, and a slow reader',
      call: 'text.stream',
      play: repeats(
        (request) => `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${begun(request)}`,
        FLOOD,
        'at once',
      ),
      ...LEFT,
      act: (scene) =>
        scene.call(async (read) => {
          const pieces = await scene.blossom.text.stream(promptOf(scene.token))
          read.text += (await pieces.next()).value?.text
          let [sent, since] = [-1, 0]
          await see(() => {
            if (sent !== scene.upstream.sent) [sent, since] = [scene.upstream.sent, 0]
            return ++since > 25
          })
          // What the kernel keeps for the two sockets is most of it.
          expect(sent).toBeLessThan(24 * 2 ** 20)
          await pieces.return(undefined)
        }),
    },
    {
      fault: 'nobody reads the stream',
      call: 'text.stream',
      play: stream(begun, 'silence'),
      clock: true,
      ends: 'TIMEOUT',
      error: { phase: 'read', ms: 30_000 },
      requests: 1,
      breaker: {},
      act: (scene) =>
        scene.call(async () => {
          const pieces = await scene.blossom.text.stream(promptOf(scene.token))
          await see(() => scene.upstream.busy === 0)
          expect(scene.held).toBe(0)
          await pieces.next()
        }),
    },
    {
      fault: 'the deadline passes in the queue',
      play: silent,
      clock: true,
      ends: 'TIMEOUT',
      error: { phase: 'queue', refused: true },
      requests: 1,
      breaker: {},
      act: (scene) =>
        whileHeld(scene, () => scene.ask('text.generate', scene.token, { timeoutMs: 3_000 })),
    },
    {
      fault: '50 callers abort while they wait',
      play: silent,
      ends: 'the reason',
      requests: 1,
      breaker: {},
      act: (scene) =>
        whileHeld(scene, async () => {
          const controllers = Array.from({ length: 50 }, () => new AbortController())
          const asked = controllers.map(({ signal }, i) =>
            scene.ask('text.generate', `${scene.token}.${i}`, { signal }),
          )
          await see(() => scene.blossom.stats().queue.waiting === 50)
          for (const controller of controllers) controller.abort(scene.reason)
          expect(scene.blossom.stats().queue).toMatchObject({ waiting: 0, running: 1 })
          const outcomes = await Promise.all(asked)
          expect(outcomes.every(({ error }) => error === scene.reason)).toBe(true)
          return outcomes[0]!
        }),
    },
    {
      fault: 'the caller of the call ahead in the queue aborts',
      play: [silent],
      ends: 'answer',
      requests: 2,
      breaker: { successes: 1 },
      act: async (scene) => {
        let waiting: Promise<Outcome> | undefined
        await whileHeld(scene, async () => {
          waiting = scene.ask('text.generate', scene.token)
          await see(() => scene.blossom.stats().queue.waiting === 1)
          return undefined as never
        })
        return waiting!
      },
    },
    {
      fault: 'the queue is full',
      play: silent,
      ends: 'QUEUE_FULL',
      error: { refused: true, retryable: false, status: 503 },
      requests: 1,
      breaker: {},
      act: (scene) =>
        whileHeld(scene, async () => {
          const controller = new AbortController()
          const crowd = together(1_000, (i) =>
            scene.ask('text.generate', `${scene.token}.${i}`, { signal: controller.signal }),
          )
          const outcome = await scene.ask('text.generate', scene.token)
          controller.abort(scene.reason)
          expect((await crowd).every(({ error }) => error === scene.reason)).toBe(true)
          return outcome
        }),
    },
    shared('one of three identical calls leaves', 'text.generate', [1], {}),
    shared('the first of three identical calls leaves', 'text.generate', [0], {}),
    shared('two of three identical streams leave', 'text.stream', [0, 2], {}),
    shared('all of three identical calls leave', 'text.generate', [0, 1, 2], {
      ends: 'the reason',
      breaker: {},
    }),
    shared('all of three identical streams leave', 'text.stream', [2, 1, 0], {
      ends: 'the reason',
      breaker: {},
    }),
    {
      fault: '503 for 100 identical calls at once',
      play: json('{}', 503),
      ends: 'SERVER',
      requests: 3,
      breaker: { failures: 3 },
      act: async (scene) => {
        const outcomes = await together(100, () => scene.ask('text.generate', scene.token))
        for (const { error } of outcomes) expect(error).toMatchObject({ code: 'SERVER' })
        return outcomes[99]!
      },
    },
    {
      fault: 'a stream that breaks for 20 identical calls at once',
      call: 'text.stream',
      play: stream(begun),
      ends: 'STREAM',
      text: BEGUN,
      requests: 1,
      breaker: { failures: 1 },
      act: async (scene) => {
        const outcomes = await together(20, () => scene.ask('text.stream', scene.token))
        for (const { text, error } of outcomes)
          expect({ text, error }).toMatchObject({ text: BEGUN, error: { code: 'STREAM' } })
        return outcomes[0]!
      },
    },
    {
      fault: 'the system date jumps a day ahead and two days back',
      play: silent,
      clock: true,
      ends: 'answer',
      requests: 1,
      breaker: { successes: 1 },
      act: async (scene) => {
        const asked = scene.ask('text.generate', scene.token)
        scene.still = true
        await see(() => arrived(scene))
        vi.setSystemTime(Date.now() + DAY)
        await goodAnswer(scene.upstream.line!)
        scene.still = false
        return asked
      },
      after: () => void vi.setSystemTime(Date.now() - 2 * DAY),
    },
  ],
}
