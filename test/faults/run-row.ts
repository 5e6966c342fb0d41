import { expect } from 'vitest'
import { isStackError } from '../../src/index.js'
import { goodText } from '../support/good-answers.js'
import { everythingOf, KEY } from '../support/secrets.js'
import { passTime } from './clock.js'
import { attemptsOf, methodOf, type Row } from './row.js'
import { type Outcome, Scene } from './scene.js'
import { became, tally } from './tally.js'

/**
 * Plays one fault against the whole stack, checks what comes of it, and that nothing is left of it.
 */
export async function runRow(row: Row, token: string): Promise<void> {
  tally.faults++
  const scene = await Scene.open(row, token)
  const time = <T>(work: Promise<T>, delivered?: string) =>
    row.clock ? passTime(scene, work, delivered) : work
  try {
    await row.before?.(scene)
    scene.upstream.fault(row)
    scene.other.fault({ play: row.other?.play })
    const outcome = await time(
      row.act === undefined ? scene.ask(methodOf(row), token, row.options) : row.act(scene),
      row.call?.endsWith('stream') ? textOf(row, token) : undefined,
    )
    expectOutcome(row, token, outcome)
    await time(expectRest(scene))
    expectCounts(row, scene)
    await row.also?.(outcome, scene)
    await expectHealth(row, scene, time)
    expect(scene.upstream.requests.filter((request) => request.token === '')).toEqual([])
  } finally {
    scene.still = false
    await time(scene.close())
  }
}

function textOf({ text, ends }: Row, token: string): string {
  if (typeof text === 'function') return text(token)
  return text ?? (ends === 'answer' ? goodText(token) : '')
}

function expectOutcome(row: Row, token: string, { ok, text, error }: Outcome): void {
  if (row.ends === 'answer' || row.ends === 'left') {
    if (!ok) throw error
  } else if (row.ends === 'the reason')
    expect(error).toMatchObject({ message: 'The caller has had enough.' })
  else {
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({ code: row.ends, ...row.error })
    expect(isStackError(error, row.ends)).toBe(true)
  }
  expect(text).toBe(textOf(row, token))
  if (!ok) expectSilence(everythingOf(error))
}

/** Neither the key nor the prompt, nor what a library says when it was not prepared. */
function expectSilence(said: string): void {
  for (const secret of [KEY, 'Marmalade', 'Cannot read properties', 'is not a function'])
    expect(said).not.toContain(secret)
}

/** Slots, places and connections are back, and upstream has nothing to do any more. */
async function expectRest(scene: Scene): Promise<void> {
  const { blossom } = scene
  await became(() => scene.held === 0 && scene.busy === 0)
  expect({ held: scene.held, busy: scene.busy }).toEqual({ held: 0, busy: 0 })
  expectSilence(JSON.stringify([blossom.stats(), blossom.describe()]))
}

function expectCounts(row: Row, scene: Scene): void {
  const { blossom, upstream, other, attempts, otherAttempts, token } = scene
  const { failures, successes, state } = blossom.stats().breaker
  const seen = {
    requests: upstream.requests.length,
    attempts: attempts.length,
    other: other.requests.length,
    breaker: { failures, successes, state },
  }
  expect(seen).toEqual({
    requests: row.requests,
    attempts: attemptsOf(row),
    other: row.other?.requests ?? 0,
    breaker: { failures: 0, successes: 0, state: 'closed', ...row.breaker },
  })
  expect([...attempts, ...otherAttempts].every(({ ends }) => ends === 1)).toBe(true)
  const requests = [...upstream.requests, ...other.requests]
  expect(requests.every((request) => request.token.startsWith(token))).toBe(true)
}

/** The same call again is answered truly, and so are others, no more at a time than there are slots. */
async function expectHealth(
  row: Row,
  scene: Scene,
  time: <T>(work: Promise<T>) => Promise<T>,
): Promise<void> {
  const { upstream, token } = scene
  const { kept = row.ends === 'answer', slots = 1 } = row
  await row.after?.(scene)
  upstream.heal()
  scene.other.heal()
  const ask = async (method: Parameters<Scene['ask']>[0], mark: string) => {
    const { ok, text, error } = await time(scene.ask(method, mark))
    if (!ok) throw error
    expect(text).toBe(goodText(mark))
  }
  const before = scene.requestsOf(token)
  const again = await time(scene.ask(methodOf(row), token))
  if (!again.ok) throw again.error
  expect(again.text).toBe(kept ? textOf(row, token) : goodText(token))
  expect(scene.requestsOf(token) - before).toBe(kept ? 0 : 1)
  await time(expectRest(scene))
  upstream.mostBusy = 0
  const [first, second] = [
    scene.ask('text.generate', `${token}.a`),
    scene.ask('text.generate', `${token}.b`),
  ]
  const outcomes = await time(Promise.all([first, second]))
  for (const { ok, error } of outcomes) if (!ok) throw error
  expect(outcomes.map(({ text }) => text)).toEqual([goodText(`${token}.a`), goodText(`${token}.b`)])
  if (row.call?.endsWith('stream')) await ask('text.stream', `${token}.c`)
  expect(upstream.mostBusy).toBe(Math.min(slots, outcomes.length))
  expect(scene.blossom.stats().breaker.state).toBe('closed')
  await time(expectRest(scene))
}
