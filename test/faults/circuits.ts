import { expect, vi } from 'vitest'
import { after, begun, json, silent } from '../support/fault-plays.js'
import type { Play } from '../support/fault-upstream.js'
import { goodAnswer, goodEvents } from '../support/good-answers.js'
import { STREAM_HEAD } from '../support/wire.js'
import type { Group, Row } from './row.js'
import type { Scene } from './scene.js'

const MINUTE = 60_000
const BREAKER = { minimumCalls: 3, resetMs: MINUTE }
const SLOW = { ...BREAKER, slowMs: 1_000 }

const late = after(2_000, goodAnswer)
/** The first words at once, and the others late. */
const lateInTheEnd: Play = async (line) => {
  await line.send(STREAM_HEAD + begun(line.request))
  after(2_000, () => line.end(goodEvents(line.request).slice(2).join('')))(line)
}

/** Three calls go so, and the next one finds the circuit open. */
const slow = (fault: string, play: Play, rest: Partial<Row>): Row => ({
  fault,
  layers: { breaker: SLOW },
  play,
  clock: true,
  ends: 'BREAKER_OPEN',
  error: { refused: true, status: 503 },
  requests: 3,
  breaker: { successes: 3, state: 'open' },
  act: async (scene) => {
    for (const mark of ['h', 'i', 'j'])
      await scene.ask(rest.call ?? 'text.generate', `${scene.token}.${mark}`)
    return scene.ask(rest.call ?? 'text.generate', scene.token)
  },
  after: () => vi.advanceTimersByTimeAsync(MINUTE),
  ...rest,
})

/** Three failures open the circuit; a minute later this happens. */
const onTrial = (
  fault: string,
  trials: number,
  act: NonNullable<Row['act']>,
  rest: Partial<Row>,
): Row => ({
  fault,
  layers: {
    breaker: { ...BREAKER, trials, resetMs: (openings) => openings * MINUTE },
    queue: { concurrency: 2 },
    pool: { connections: 2 },
  },
  play: Array(3).fill(json('{}', 503)),
  slots: 2,
  clock: true,
  ends: 'BREAKER_OPEN',
  requests: 3,
  breaker: { failures: 3 },
  act: async (scene) => {
    await scene.ask('text.generate', `${scene.token}.h`)
    expect(scene.blossom.stats().breaker.state).toBe('open')
    await vi.advanceTimersByTimeAsync(MINUTE)
    return act(scene)
  },
  ...rest,
})
const answered = async (scene: Scene, mark: string) =>
  expect(await scene.ask('text.generate', `${scene.token}.${mark}`)).toMatchObject({ ok: true })

export const openCircuits: Group = {
  title: 'Slow calls and trials',
  rows: [
    slow('three slow answers', late, {}),
    slow('three streams with a slow first token', late, { call: 'text.stream' }),
    slow('three streams with a slow last token', lateInTheEnd, {
      call: 'text.stream',
      ends: 'answer',
      requests: 4,
      breaker: { successes: 4 },
      after: () => {},
    }),
    onTrial(
      'the trial fails, and the circuit stays open for twice as long',
      1,
      async (scene) => {
        scene.upstream.fault({ play: json('{}', 503) })
        await scene.ask('text.generate', `${scene.token}.i`)
        await vi.advanceTimersByTimeAsync(MINUTE)
        return scene.ask('text.generate', scene.token)
      },
      {
        error: { refused: true },
        requests: 4,
        breaker: { failures: 4, state: 'open' },
        after: () => vi.advanceTimersByTimeAsync(MINUTE),
      },
    ),
    onTrial(
      'one trial succeeds, and the circuit closes',
      1,
      async (scene) => {
        await answered(scene, 'i')
        return scene.ask('text.generate', scene.token)
      },
      { ends: 'answer', requests: 5, breaker: { failures: 3, successes: 2 } },
    ),
    onTrial(
      'two trials run, and a third call is refused',
      2,
      async (scene) => {
        const [, , outcome] = await Promise.all([
          answered(scene, 'i'),
          answered(scene, 'j'),
          scene.ask('text.generate', scene.token),
        ])
        return outcome
      },
      { requests: 5, breaker: { failures: 3, successes: 2 } },
    ),
    onTrial(
      'the caller of the trial aborts, and the next call becomes the trial',
      1,
      async (scene) => {
        scene.upstream.fault({ play: [silent] })
        const controller = new AbortController()
        setTimeout(() => controller.abort(scene.reason), 3_000)
        const { signal } = controller
        expect((await scene.ask('text.generate', `${scene.token}.i`, { signal })).ok).toBe(false)
        return scene.ask('text.generate', scene.token)
      },
      { ends: 'answer', requests: 5, breaker: { failures: 3, successes: 1 } },
    ),
    onTrial(
      'the trial is slow, and the circuit opens again',
      1,
      async (scene) => {
        scene.upstream.fault({ play: [late] })
        await answered(scene, 'i')
        return scene.ask('text.generate', scene.token)
      },
      {
        layers: { breaker: { ...SLOW, trials: 1 } },
        slots: 1,
        error: { refused: true },
        requests: 4,
        breaker: { failures: 3, successes: 1, state: 'open' },
        after: () => vi.advanceTimersByTimeAsync(MINUTE),
      },
    ),
  ],
}
