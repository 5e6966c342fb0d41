import { base, type Context, now, sleep, stack, Timer } from '../../src/core/index.js'
import type { Amounts } from '../../src/layers/rate-limit/limits.js'
import { MemoryStore } from '../../src/layers/rate-limit/memory-store.js'
import type { LimitStore, Reservation } from '../../src/layers/rate-limit/store.js'
import type { FakeClock } from '../../src/testing/fake-clock.js'
import { randomFrom } from '../../src/testing/random.js'
import { RecordingStore, recordedLimit } from '../support/recorded-limit.js'
import { MINUTE, type Taken } from '../support/sliding-minute.js'
import { upstreamError } from '../support/upstream.js'

/** What is taken at admission, and what comes back later. */
export interface Entry {
  readonly at: number
  readonly key: string
  readonly amounts: Amounts
  /** What the call has really taken, at its end. */
  readonly settled?: Amounts
}

/** Writes down when a limit is charged and when it is corrected. */
export class Ledger extends RecordingStore {
  readonly entries: Entry[] = []
  readonly #charged = new Map<Reservation, Entry>()

  override reserve(...asked: Parameters<LimitStore['reserve']>): ReturnType<LimitStore['reserve']> {
    const decision = super.reserve(...asked) as Awaited<ReturnType<LimitStore['reserve']>>
    if (!decision.granted) return decision
    const entry = { at: now(), key: asked[0], amounts: asked[1] }
    this.entries.push(entry)
    this.#charged.set(decision, entry)
    return decision
  }

  override settle(reservation: Reservation, settled: Amounts): ReturnType<LimitStore['settle']> {
    const charged = this.#charged.get(reservation)
    if (charged !== undefined) this.entries.push({ ...charged, at: now(), settled })
    return super.settle(reservation, settled)
  }

  /** Of one key: what calls are charged when they begin, less what comes back. */
  takenOf(key: string, unit: 'requests' | 'tokens'): Taken[] {
    return this.entries
      .filter((entry) => entry.key === key)
      .map(({ at, amounts, settled }) => {
        const amount = amounts[unit]
        return { at, amount: settled === undefined ? amount : Math.min(0, settled[unit] - amount) }
      })
  }
}

/** How calls come. */
type Arrivals = 'evenly' | 'at the edge' | 'in floods'

/** One call of a schedule. */
interface Ask {
  readonly tokens: number
  /** Of the tokens that it is thought to take, what it takes. */
  readonly share: number
  readonly does: 'answers' | 'reports nothing' | 'is limited' | 'fails' | 'is wrong'
  readonly takesMs: number
}

/** A random schedule, all of which follows from its seed. */
export interface Schedule {
  readonly seed: number
  readonly arrivals: Arrivals
  readonly requests: number
  readonly tokens: number
  readonly mode: 'wait' | 'reject'
  readonly tenants: number
  readonly minutes: number
}

const ARRIVALS = ['evenly', 'at the edge', 'in floods'] as const

export function scheduleOf(seed: number): Schedule {
  const random = randomFrom(seed)
  const upTo = (most: number) => 1 + Math.floor(most * random())
  const requests = upTo(60)
  return {
    seed,
    arrivals: ARRIVALS[seed % 3] as Arrivals,
    requests,
    tokens: requests * upTo(100),
    mode: random() < 0.5 ? 'wait' : 'reject',
    tenants: upTo(3),
    minutes: 2,
  }
}

/** Plays a schedule to its end. */
export async function playSchedule(
  clock: FakeClock,
  schedule: Schedule,
  inner: LimitStore = new MemoryStore(),
) {
  const { requests, tokens, mode, minutes } = schedule
  const random = randomFrom(schedule.seed + 1)
  const ledger = new Ledger(inner)
  /** When calls of each tenant came to upstream. */
  const begun = new Map<string, Taken[]>()
  const limit = recordedLimit({ requests, tokens, mode, by: 'tenant', maxWaiting: 50 }, ledger)
  const ask = stack(
    base(
      (request: Ask, context: Context) => {
        const { tenant = '' } = context
        begun.set(tenant, [...(begun.get(tenant) ?? []), { at: now(), amount: 1 }])
        return answer(request, context)
      },
      {
        weigh: ({ tokens }) => ({ input: tokens }),
        usage: (answer) => (answer as { usage?: { input: number; output: number } }).usage,
      },
    ),
    limit,
  )
  const calls: Promise<unknown>[] = []
  const call = () => {
    const leaver = new AbortController()
    const request = drawCall(schedule, random)
    const tenant = `tenant ${Math.floor(random() ** 3 * schedule.tenants)}`
    calls.push(ask(request, { tenant, signal: leaver.signal }).catch(() => {}))
    if (random() < 0.1) new Timer(20_000 * random(), () => leaver.abort(new Error('left')))
  }
  // The minutes of a fixed window begin at the multiples of a minute.
  await clock.advance(MINUTE - (clock.now() % MINUTE))
  const start = clock.now()
  for (const at of arrivalsOf(schedule, random)) new Timer(at, call)
  await clock.advance((minutes + 3) * MINUTE)
  await Promise.all(calls)
  return { ledger, begun, start, calls: calls.length, stats: limit.stats() }
}

function drawCall({ requests, tokens }: Schedule, random: () => number): Ask {
  const does = ['answers', 'reports nothing', 'is limited', 'fails', 'is wrong'] as const
  const usual = (2 * tokens * random()) / requests
  return {
    // A few are dearer than the bucket.
    tokens: Math.ceil(random() < 0.03 ? tokens * random() : usual),
    share: 3 * random(),
    does: random() < 0.7 ? 'answers' : (does[Math.floor(5 * random())] as Ask['does']),
    takesMs: 8_000 * random() ** 2,
  }
}

async function answer({ tokens, share, does, takesMs }: Ask, { cancel }: Context) {
  await sleep(takesMs, cancel)
  if (does === 'is limited') throw upstreamError('RATE_LIMITED')
  if (does === 'fails') throw upstreamError('SERVER')
  if (does === 'is wrong') throw upstreamError('BAD_REQUEST')
  return does === 'answers' ? { usage: { input: Math.round(tokens * share), output: 0 } } : {}
}

/** The moments at which calls come, twice as many as the limit lets through. */
function arrivalsOf({ arrivals, requests, tenants, minutes }: Schedule, random: () => number) {
  const count = Math.min(150, 2 * requests * minutes * tenants)
  const moment = () => {
    const at = random() * minutes * MINUTE
    if (arrivals === 'evenly') return at
    const every = arrivals === 'at the edge' ? MINUTE : 17_000
    return Math.max(0, Math.round(at / every) * every + 400 * (random() - 0.5))
  }
  return Array.from({ length: count }, moment)
}
