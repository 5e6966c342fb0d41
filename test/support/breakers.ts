import { type Context, type Stack, stack } from '../../src/core/index.js'
import { type BreakerOptions, breaker } from '../../src/layers/breaker/index.js'
import { tick } from './fake-timers.js'
import { type Gate, gate } from './gate.js'
import { down } from './upstream.js'
import { watch } from './watch.js'

const opened: { close(options: { timeoutMs: number }): Promise<void> }[] = []

/** Closes what was kept; for the end of each test. */
export async function closeBreakers(): Promise<void> {
  const closings = Promise.all(opened.splice(0).map((ask) => ask.close({ timeoutMs: 0 })))
  await tick(2_000)
  await closings
}

/** Closed at the end: an open breaker's clock runs on. */
export function kept<S extends Stack<never, unknown, never>>(ask: S): S
export function kept<S>(ask: S): S
export function kept(ask: unknown): unknown {
  opened.push(ask as (typeof opened)[0])
  return ask
}

export const SMALL = { minimumCalls: 4, windowMs: 1_000, resetMs: 500 }

/** The stats of a breaker that has seen nothing. */
export const UNTOUCHED = {
  state: 'closed',
  successes: 0,
  failures: 0,
  slow: 0,
  rejected: 0,
  opened: 0,
  heard: 0,
  circuits: { open: 0, halfOpen: 0, total: 0 },
}

export type Outcome = 'ok' | { error: unknown }
export const fail = (error: unknown = down()): Outcome => ({ error })

/** A stack around a base that does what each request says. */
export function around(options: BreakerOptions = {}, ...inside: never[]) {
  let calls = 0
  const base = async (outcome: Outcome) => {
    calls++
    if (outcome !== 'ok') throw outcome.error
    return 'answer'
  }
  const ask = kept(stack(base, breaker({ ...SMALL, ...options }), ...inside))
  const state = () => ask.stats().breaker.state
  const run = async (outcome: Outcome, times = 1) => {
    for (let i = 0; i < times; i++) await ask(outcome).catch(() => {})
  }
  const open = async () => {
    await run(fail(), 4)
    if (state() !== 'open') throw new Error(`Four failures left the breaker ${state()}.`)
  }
  return { ask, run, open, state, calls: () => calls }
}

/** A stack whose calls the test settles one by one. */
export function held(options: BreakerOptions = {}) {
  const works: Gate<string>[] = []
  const ask = kept(
    stack(
      async (_: string, { cancel }: Context) => {
        const work = gate<string>()
        works.push(work)
        cancel.onAbort((reason) => work.fail(reason))
        return work.promise
      },
      breaker({ ...SMALL, ...options }),
    ),
  )
  /** Answers the n-th call, from 0. */
  const answer = async (n: number, text = 'ok') => {
    works[n]!.open(text)
    await tick()
  }
  return { ask, works, answer, state: () => ask.stats().breaker.state }
}

/** Such a stack, half-open after four calls that have failed. */
export async function halfOpened() {
  const all = held()
  for (let i = 0; i < 4; i++) watch(all.ask('x'))
  for (const work of all.works) work.fail(down())
  await tick(SMALL.resetMs)
  return all
}
