import { describe, expect, it } from 'vitest'
import { onEvent, type StackEvent, stack } from '../../../../src/core/index.js'
import { type BreakerOptions, breaker } from '../../../../src/layers/breaker/index.js'
import { closedAtEnd } from '../../../support/closed-at-end.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { type Gate, gate } from '../../../support/gate.js'
import { Service, type Way } from '../../../support/shared-service.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
const kept = closedAtEnd()

const SMALL = { minimumCalls: 2, windowMs: 1_000, resetMs: 500 }

interface Ask {
  readonly model?: string
  /** What it waits for. */
  readonly work?: Gate<string>
  readonly ok?: boolean
}

/** One of several processes: a breaker around a function that fails unless it is told not to. */
function joined(service: Service, options: BreakerOptions<'breaker', Ask> = {}) {
  const process = service.join()
  const changes: string[] = []
  const layer = breaker({
    ...SMALL,
    key: ({ model = '' }: Ask) => model,
    onStateChange: (state) => changes.push(state),
    ...options,
    shared: process,
  })
  let ran = 0
  const ask = stack(async ({ ok = true, work }: Ask) => {
    ran++
    if (work !== undefined) return work.promise
    if (!ok) throw upstreamError('SERVER')
    return 'answer'
  }, layer)
  kept(ask)
  /** Opens it by verdicts of its own. */
  const fail = async (model = '') => {
    for (let i = 0; i < 2; i++) await ask({ ok: false, model }).catch(() => {})
  }
  const { asked } = process
  return {
    process,
    asked,
    layer,
    ask,
    fail,
    changes,
    stats: () => ask.stats().breaker,
    ran: () => ran,
  }
}

/** Two of them that have had a call each. */
async function two(options: BreakerOptions<'breaker', Ask> = {}, way?: Way) {
  const service = new Service(way)
  const [one, other] = [joined(service, options), joined(service, options)]
  await one.ask({})
  await other.ask({})
  return { service, one, other }
}

/** Two of them whose circuit has been open for its time. */
async function halfOpen(options: BreakerOptions<'breaker', Ask> = {}, way?: Way) {
  const both = await two(options, way)
  await both.one.fail()
  await tick(SMALL.resetMs)
  return both
}

/** Two of those; the test answers what they ask. */
async function askedByHand() {
  const answers: Gate[] = []
  const { one, other } = await halfOpen({}, () => {
    const answer = gate()
    answers.push(answer)
    return answer.promise
  })
  return { answers, one, other }
}

describe('a circuit that opens', () => {
  it('opens in the other processes for the same time, and is counted there as heard', async () => {
    const { one, other } = await two()
    await one.fail()
    const error = await failure(other.ask({}))
    expect(error).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: 500 })
    expect(one.stats()).toMatchObject({ state: 'open', opened: 1, heard: 0 })
    expect(other.stats()).toMatchObject({ state: 'open', opened: 1, heard: 1, failures: 0 })
    await tick(499)
    expect(await failure(other.ask({}))).toMatchObject({ retryAfter: 1 })
    await tick(1)
    expect(other.layer.state()).toBe('half-open')
    expect(other.changes).toEqual(['open', 'half-open'])
  })

  it('opens only the circuit with the same key and the same layer name', async () => {
    const { service, one, other } = await two()
    const stranger = joined(service, { name: 'breaker2' as 'breaker' })
    await stranger.ask({ model: 'large' })
    await one.fail('large')
    expect(await failure(other.ask({ model: 'large' }))).toMatchObject({ code: 'BREAKER_OPEN' })
    expect(await other.ask({ model: 'small' })).toBe('answer')
    expect(await stranger.ask({ model: 'large' })).toBe('answer')
  })

  it('is open from the start for a process that joins later', async () => {
    const { service, one } = await two()
    await one.fail()
    await tick(200)
    const late = joined(service)
    expect(await failure(late.ask({}))).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: 300 })
    expect(late.stats()).toMatchObject({ opened: 1, heard: 1 })
  })

  it('stays open in every process until the latest of their reset times', async () => {
    const { one, other } = await two()
    other.process.isThere = false
    await other.fail()
    other.process.isThere = true
    await tick(200)
    await one.fail()
    await tick(400)
    // The later of both moments.
    expect([one, other].map(({ layer }) => layer.state())).toEqual(['open', 'open'])
    await tick(100)
    expect([one, other].map(({ layer }) => layer.state())).toEqual(['half-open', 'half-open'])
  })

  it("never stays open elsewhere for longer than that process's own resetMs", async () => {
    const service = new Service()
    const one = joined(service, { resetMs: 24 * 3_600_000 })
    const other = joined(service)
    await other.ask({})
    await one.fail()
    await tick(500)
    expect(other.layer.state()).toBe('half-open')
  })

  it('counts consecutive openings across all processes', async () => {
    const { one, other } = await two({ resetMs: (openings) => 500 * openings })
    await one.fail()
    await tick(500)
    await one.ask({ ok: false }).catch(() => {})
    expect(await failure(other.ask({}))).toMatchObject({ retryAfter: 1_000 })
    await tick(1_000)
    await other.ask({ ok: false }).catch(() => {})
    expect(await failure(one.ask({}))).toMatchObject({ retryAfter: 1_500 })
  })

  it('leaves an isolated circuit isolated, whatever the other processes do', async () => {
    const { one, other } = await two()
    other.layer.isolate('')
    await one.fail()
    await tick(500)
    await one.ask({})
    expect(one.layer.state()).toBe('closed')
    expect(await failure(other.ask({}))).toMatchObject({ retryAfter: undefined })
    other.layer.reset('')
    expect(await other.ask({})).toBe('answer')
  })

  it('is reported by the first call that meets it, marked as opened elsewhere', async () => {
    const { one, other } = await two()
    const events: StackEvent[] = []
    kept({ close: onEvent((event) => void (event.type === 'breaker' && events.push(event))) })
    const meta = new Map<string, unknown>()
    await one.fail()
    await other.ask({}, { meta }).catch(() => {})
    await other.ask({}).catch(() => {})
    await tick(500)
    await one.ask({})
    await other.ask({})
    expect(
      events.map((event) => {
        const { state, elsewhere } = event as StackEvent & { type: 'breaker' }
        return [state, elsewhere]
      }),
    ).toEqual([
      ['open', undefined],
      ['open', true],
      ['half-open', undefined],
      ['half-open', undefined],
      ['closed', undefined],
      ['closed', true],
    ])
    expect(meta.get('timeline')).toContainEqual({
      type: 'breaker',
      afterMs: expect.any(Number),
      layer: 'breaker',
      state: 'open',
      elsewhere: true,
    })
  })
})

describe('the trial', () => {
  it('runs in one process, while the others refuse calls until they hear its outcome', async () => {
    const { one, other } = await halfOpen()
    const work = gate<string>()
    const trial = watch(one.ask({ work }))
    await tick(100)
    expect(await failure(other.ask({}))).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: 400 })
    expect(await failure(other.ask({}))).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: 400 })
    // The second one has not asked again.
    expect(other.asked).toEqual(['claim'])
    work.open('done')
    await tick()
    expect(trial.value).toBe('done')
    expect(await other.ask({})).toBe('answer')
    expect([one, other].map(({ changes }) => changes)).toEqual(
      Array(2).fill(['open', 'half-open', 'closed']),
    )
  })

  it('opens the circuit again in all processes when it fails', async () => {
    const { one, other } = await halfOpen()
    await one.ask({ ok: false }).catch(() => {})
    expect(await failure(other.ask({}))).toMatchObject({ retryAfter: 500 })
    expect(other.ran()).toBe(1)
  })

  it('passes to another process when the time of its holder is over', async () => {
    const { one, other } = await halfOpen()
    const work = gate<string>()
    watch(one.ask({ work }))
    await tick(499)
    expect(await failure(other.ask({}))).toMatchObject({ retryAfter: 1 })
    await tick(1)
    expect(await other.ask({})).toBe('answer')
    expect([one, other].map(({ layer }) => layer.state())).toEqual(['closed', 'closed'])
    // Its late verdict is none.
    work.fail(upstreamError('SERVER'))
    await tick()
    expect(one.stats()).toMatchObject({ state: 'closed', failures: 2 })
  })

  it('is given back when it ends without a verdict, for the next call of any process', async () => {
    const { one, other } = await halfOpen()
    const work = gate<string>()
    const trial = watch(one.ask({ work }))
    await tick()
    expect(await failure(other.ask({}))).toMatchObject({ code: 'BREAKER_OPEN' })
    work.fail(upstreamError('BAD_REQUEST'))
    await tick()
    expect(trial.state).toBe('rejected')
    expect(one.asked).toEqual(['opened', 'claim', 'release'])
    expect(await other.ask({})).toBe('answer')
  })

  it('is given back when its stack closes', async () => {
    const { one, other } = await two({ resetMs: 5_000 })
    await one.fail()
    await tick(5_000)
    watch(one.ask({ work: gate<string>() }))
    await tick()
    expect(await failure(other.ask({}))).toMatchObject({ code: 'BREAKER_OPEN' })
    const closed = one.ask.close({ timeoutMs: 0 })
    await tick(1_000)
    await closed
    expect(one.asked).toContain('release')
    expect(await other.ask({})).toBe('answer')
  })

  it('is claimed once for several trials of one process', async () => {
    const { one, other } = await halfOpen({ trials: 3, failureRate: 0.3 })
    expect(await Promise.all([one.ask({}), one.ask({})])).toEqual(['answer', 'answer'])
    expect(await failure(other.ask({}))).toMatchObject({ code: 'BREAKER_OPEN' })
    await one.ask({})
    expect(one.asked).toEqual(['opened', 'claim', 'closed'])
    expect(await other.ask({})).toBe('answer')
  })

  it('does not run when the caller leaves while it is being claimed, and is given back', async () => {
    const { answers, one, other } = await askedByHand()
    const caller = new AbortController()
    const call = watch(one.ask({}, { signal: caller.signal }))
    const ran = one.ran()
    caller.abort(new Error('the caller left'))
    await tick()
    expect(call.error).toMatchObject({ message: 'the caller left' })
    answers[0]?.open()
    await tick()
    expect(one.ran()).toBe(ran)
    expect(one.stats()).toMatchObject({ state: 'half-open', failures: 1 })
    expect(one.asked).toEqual(['opened', 'claim', 'release'])
    const trial = watch(other.ask({}))
    answers[1]?.open()
    await tick()
    expect(trial.value).toBe('answer')
  })

  it('becomes an ordinary call when another process closes the circuit while it is being claimed', async () => {
    const { answers, one, other } = await askedByHand()
    const late = watch(other.ask({}))
    const trial = watch(one.ask({}))
    answers[1]?.open()
    await tick()
    expect(trial.value).toBe('answer')
    answers[0]?.open()
    await tick()
    expect(late.value).toBe('answer')
    expect(other.stats()).toMatchObject({ state: 'closed', successes: 2 })
    expect(other.asked).toEqual(['claim', 'release'])
  })

  it('does not run when another process opens the circuit while it is being claimed', async () => {
    const { answers, one, other } = await askedByHand()
    const late = watch(other.ask({}))
    const trial = watch(one.ask({ ok: false }))
    answers[1]?.open()
    await tick()
    expect(trial.state).toBe('rejected')
    answers[0]?.open()
    await tick()
    expect(late.error).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: 500 })
    expect(other.ran()).toBe(1)
    expect(other.asked).toEqual(['claim', 'release'])
  })
})

describe('a process alone', () => {
  it('decides as if there were no others, and notes that its trial ran alone', async () => {
    const { one, other } = await two()
    one.process.isThere = false
    await one.fail()
    expect(await other.ask({})).toBe('answer')
    await tick(500)
    const events: StackEvent[] = []
    kept({ close: onEvent((event) => void (event.type === 'alone' && events.push(event))) })
    const meta = new Map<string, unknown>()
    expect(await one.ask({}, { meta })).toBe('answer')
    expect(meta.get('breaker')).toEqual({ alone: true })
    expect(events).toMatchObject([{ layer: 'breaker' }])
    expect(one.layer.state()).toBe('closed')
  })

  it('sends nothing to the others for calls through a closed circuit', async () => {
    const { one } = await two()
    const meta = new Map<string, unknown>()
    for (let i = 0; i < 100; i++) await one.ask({ ok: i % 10 !== 5 }, { meta }).catch(() => {})
    expect(one.asked).toEqual([])
    expect(meta.has('breaker')).toBe(false)
  })
})

describe('reset()', () => {
  it('closes a circuit that failures opened in all processes, but an isolated one only in its own process', async () => {
    const { one, other } = await two()
    await one.fail()
    one.layer.reset('')
    expect(await other.ask({})).toBe('answer')
    one.layer.isolate('')
    expect(await other.ask({})).toBe('answer')
    one.layer.reset('')
    expect(one.asked).toEqual(['opened', 'closed'])
  })
})
