import type { StackEvent } from '../../core/index.js'
import { Names } from '../names.js'
import type { Family, Sample } from './families.js'
import { type Spending, Work } from './tallies.js'

const MODELS = 50
const TENANTS = 100
/**
 * Maximum number of label values. There are about thirty of each; users' functions may add some.
 */
const OPERATIONS = 50
const CODES = 50

/** The operation of a base that reports none. */
const CALL = 'call'

type EventOf<Type extends StackEvent['type']> = Extract<StackEvent, { type: Type }>

/** Counts events. */
export class Recorder {
  readonly #hasTenants: boolean
  readonly #models = new Names(MODELS)
  readonly #tenants = new Names(TENANTS)
  readonly #operations = new Names(OPERATIONS)
  readonly #codes = new Names(CODES)
  readonly #work = new Map<string, Map<string, Work>>()
  /** Running calls, and whether each was made by another running call and belongs to it. */
  readonly #open = new Map<string, boolean>()
  readonly #retries = new Map<string, number>()
  readonly #fallbacks = new Map<string, number>()
  readonly #cache = { hit: 0, stale: 0, miss: 0 }
  readonly #hedges = { won: 0, lost: 0, refused: 0 }
  #joined = 0
  #alone = 0

  constructor(hasTenants: boolean) {
    this.#hasTenants = hasTenants
  }

  readonly onEvent = (event: StackEvent): void => {
    switch (event.type) {
      case 'call:start':
        this.#open.set(event.call, event.parent !== undefined && this.#open.has(event.parent))
        return
      case 'attempt:end':
        return this.#attemptEnded(event)
      case 'call:end':
        return this.#callEnded(event)
      case 'cache':
        this.#cache[event.status]++
        return
      case 'joined':
        this.#joined++
        return
      case 'retry':
        return addOne(this.#retries, this.#codes.of(event.code))
      case 'fallback':
        return addOne(this.#fallbacks, String(event.candidate))
      case 'hedge':
        this.#hedges[event.outcome]++
        return
      case 'alone':
        this.#alone++
    }
  }

  #attemptEnded({
    operation,
    model,
    tenant,
    outcome,
    code,
    usage,
    cost,
    nested,
  }: EventOf<'attempt:end'>): void {
    // The nested stack counts its own attempts.
    if (nested) return
    const work = this.#workOf(operation, model)
    work.attempts.add(outcome, this.#codes.of(code))
    if (usage !== undefined) this.#spendingOf(work, tenant).add(usage, cost)
  }

  #callEnded({
    call,
    operation,
    model,
    tenant,
    outcome,
    code,
    durationMs,
    firstTokenMs,
  }: EventOf<'call:end'>): void {
    const isPart = this.#open.get(call) ?? true
    this.#open.delete(call)
    if (isPart) return
    const work = this.#workOf(operation, model)
    this.#spendingOf(work, tenant).calls.add(outcome, this.#codes.of(code))
    work.duration.observe(durationMs)
    if (firstTokenMs !== undefined) work.firstToken.observe(firstTokenMs)
  }

  #spendingOf(work: Work, tenant: string | undefined): Spending {
    return work.of(this.#hasTenants ? this.#tenants.of(tenant) : '')
  }

  #workOf(asked: string | undefined, askedModel: string | undefined): Work {
    const operation = this.#operations.of(asked ?? CALL)
    const model = this.#models.of(askedModel)
    let models = this.#work.get(operation)
    if (models === undefined) {
      models = new Map()
      this.#work.set(operation, models)
    }
    let work = models.get(model)
    if (work === undefined) {
      work = new Work({ operation, model })
      models.set(model, work)
    }
    return work
  }

  families(): Family[] {
    const spending = (samples: (of: Spending, labels: Work['labels']) => readonly Sample[]) =>
      this.#samples((work) => work.spending(this.#hasTenants, samples))
    return [
      counter('blossom_calls_total', 'Ended calls, by outcome.', () =>
        spending(({ calls }, labels) => calls.samples(labels)),
      ),
      histogram(
        'blossom_call_duration_seconds',
        'Time from the start of a call to the end of its answer or stream.',
        () => this.#samples(({ duration, labels }) => duration.samples(labels)),
      ),
      histogram(
        'blossom_first_token_seconds',
        'Time from the start of a call to the first token of its stream.',
        () => this.#samples(({ firstToken, labels }) => firstToken.samples(labels)),
      ),
      counter('blossom_attempts_total', 'Requests to upstream, including retries.', () =>
        this.#samples(({ attempts, labels }) => attempts.samples(labels)),
      ),
      counter('blossom_retries_total', 'Retries, by the error of the previous attempt.', () =>
        samplesBy('code', this.#retries),
      ),
      counter(
        'blossom_tokens_total',
        'Tokens reported by upstream, counted once per shared answer. Cached tokens are part of input, reasoning tokens are part of output.',
        () => spending((of, labels) => of.tokens(labels)),
      ),
      counter('blossom_cost_total', 'Cost of these tokens, by the option price.', () =>
        spending((of, labels) => of.cost(labels)),
      ),
      counter('blossom_cache_total', 'Cache lookups, by result.', () =>
        samplesBy('status', Object.entries(this.#cache)),
      ),
      counter('blossom_joined_total', 'Calls that shared the answer of another call.', () =>
        one(this.#joined),
      ),
      counter('blossom_hedges_total', 'Second requests for slow calls.', () =>
        samplesBy('outcome', Object.entries(this.#hedges)),
      ),
      counter(
        'blossom_fallbacks_total',
        'Calls that fell back to another candidate, by its index.',
        () => samplesBy('candidate', this.#fallbacks),
      ),
      counter(
        'blossom_shared_local_total',
        'Decisions made by this process alone, because the shared state was unavailable.',
        () => one(this.#alone),
      ),
    ]
  }

  #samples(of: (work: Work) => readonly Sample[]): Sample[] {
    return [...this.#work.values()].flatMap((models) => [...models.values()].flatMap(of))
  }
}

function addOne(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1)
}

const samplesBy = (label: string, counts: Iterable<readonly [string, number]>): Sample[] =>
  [...counts].map(([name, value]) => ({ labels: { [label]: name }, value }))

const one = (value: number): Sample[] => [{ labels: {}, value }]

const counter = (name: string, help: string, samples: Family['samples']): Family => ({
  name,
  help,
  type: 'counter',
  samples,
})

const histogram = (name: string, help: string, samples: Family['samples']): Family => ({
  name,
  help,
  type: 'histogram',
  samples,
})
