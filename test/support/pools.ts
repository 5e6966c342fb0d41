import { type Context, stack } from '../../src/core/index.js'
import { type PoolMember, type PoolOptions, pool } from '../../src/layers/pool/index.js'
import { tick } from './fake-timers.js'
import { type Gate, gate } from './gate.js'
import { watch } from './watch.js'

export const TWO: PoolMember[] = [{ apiKey: 'sk_first' }, { apiKey: 'sk_second' }]

/** A pool around work that the test ends one by one. */
export function heldPool(options: PoolOptions = {}) {
  const works: { member: number; request: string; work: Gate<string> }[] = []
  const ask = stack((request: string, { transport }: Context) => {
    const work = gate<string>()
    works.push({ member: transport!.member!, request, work })
    return work.promise
  }, pool(options))
  const end = async (request: string) => {
    works.find((one) => one.request === request)!.work.open(request)
    await tick()
  }
  const endAll = async () => {
    for (let ended = 0; ended < works.length; ) {
      for (; ended < works.length; ended++) works[ended]!.work.open('')
      await tick()
    }
  }
  const call = (request: string, options = {}) => watch(ask(request, options))
  return {
    ask,
    call,
    end,
    endAll,
    works,
    started: () => works.map(({ request }) => request),
    stats: () => ask.stats().pool,
  }
}

/** A pool whose members answer with what the test says, by index: an error to throw, or nothing. */
export function answeringPool(options: PoolOptions) {
  const answers: unknown[] = []
  const used: number[] = []
  const ask = stack(async (_: string, { transport }: Context) => {
    const member = transport!.member!
    used.push(member)
    const answer = answers[member]
    if (answer instanceof Error) throw answer
    return `member ${member}`
  }, pool(options))
  const run = async (times: number) => {
    for (let i = 0; i < times; i++) await ask('x').catch(() => {})
  }
  const states = () => ask.stats().pool.members.map(({ state }) => state)
  return { ask, answers, used, run, states }
}
