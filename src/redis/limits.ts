import { randomUUID } from 'node:crypto'
import {
  digest,
  type LimitCorrection,
  type LimitOrder,
  type LimitReply,
  type SharedLimits,
  Timer,
} from '../core/index.js'
import type { Connection } from './connection.js'
import type { Messages } from './messages.js'
import { ALONE } from './operations.js'
import { runScript } from './run-script.js'
import { CORRECT, TAKE } from './scripts.js'

/** How long corrections are collected before they are sent. Milliseconds. */
const BATCH_MS = 25
/** Delay before a failed batch is sent again, and the number of attempts. Milliseconds. */
const AGAIN_MS = 1_000
const TIMES = 60

/** The levels of one `rateLimit()` in Redis: one hash for each key. Times are on Redis' clock. */
export class RedisLimits implements SharedLimits {
  readonly #connection: Connection
  readonly #messages: Messages
  readonly #prefix: string
  readonly #name: string
  readonly #batches = new Map<string, Batch>()

  constructor(connection: Connection, messages: Messages, prefix: string, name: string) {
    this.#connection = connection
    this.#messages = messages
    this.#prefix = prefix
    this.#name = name
  }

  get processes(): number {
    return this.#messages.processes
  }

  async take(key: string, orders: readonly LimitOrder[]): Promise<readonly LimitReply[] | null> {
    const asked = orders.flatMap(({ unit, need, want, of }) => [unit, need, want, ...termsOf(of)])
    const replies = await this.#run(TAKE, [this.#account(key)], asked)
    if (replies === ALONE) return null
    return orders.map((_, i) => {
      const [given, waitMs, level] = replies.slice(3 * i, 3 * i + 3).map(Number)
      return {
        given: given as number,
        waitMs: waitMs === -1 ? Number.POSITIVE_INFINITY : (waitMs as number),
        level: level as number,
      }
    })
  }

  correct(key: string, corrections: readonly LimitCorrection[]): Promise<number | undefined> {
    let batch = this.#batches.get(key)
    if (batch === undefined) {
      batch = new Batch()
      this.#batches.set(key, batch)
      new Timer(BATCH_MS, () => {
        this.#batches.delete(key)
        void this.#send(key, batch as Batch, 1)
      }).unref()
    }
    for (const correction of corrections) batch.add(correction)
    return batch.done
  }

  /** Sends the collected corrections. */
  async flush(): Promise<void> {
    const batches = [...this.#batches]
    this.#batches.clear()
    await Promise.all(batches.map(([key, batch]) => this.#send(key, batch, TIMES)))
  }

  async #send(key: string, batch: Batch, times: number): Promise<void> {
    const asked = batch.corrections.flatMap(({ unit, amount, of }) => [
      unit,
      amount,
      ...termsOf(of),
    ])
    const account = this.#account(key)
    const replies = await this.#run(CORRECT, [account, `${account}:${batch.id}`], asked)
    if (replies !== ALONE) return batch.settle(replies[0] === '' ? undefined : Number(replies[0]))
    if (times >= TIMES) return batch.settle(undefined)
    new Timer(AGAIN_MS, () => void this.#send(key, batch, times + 1)).unref()
  }

  /**
   * The key of an account. A hash tag keeps its keys in one slot of a cluster; the tenant's name is
   * stored as a digest.
   */
  #account(key: string): string {
    return `${this.#prefix}:limit:{${digest(this.#name, key)}}`
  }

  #run(
    script: string,
    keys: string[],
    asked: readonly (string | number)[],
  ): Promise<readonly string[] | typeof ALONE> {
    return this.#connection.run((client) =>
      runScript<readonly string[]>(client, script, keys, asked),
    )
  }
}

/** Corrections of one key that are sent together. */
class Batch {
  /** Lets Redis ignore a batch that it has already applied. */
  readonly id = randomUUID()
  readonly done: Promise<number | undefined>
  settle!: (spent: number | undefined) => void
  readonly #sums = new Map<string, LimitCorrection>()

  constructor() {
    this.done = new Promise((resolve) => {
      this.settle = resolve
    })
  }

  add(correction: LimitCorrection): void {
    const { unit, amount, of } = correction
    const window = 'start' in of ? of.start : ''
    const at = `${unit} ${window}`
    this.#sums.set(at, { unit, of, amount: amount + (this.#sums.get(at)?.amount ?? 0) })
  }

  get corrections(): readonly LimitCorrection[] {
    return [...this.#sums.values()]
  }
}

/** The script arguments for a bucket or a window: its kind and three numbers. */
const termsOf = (of: LimitOrder['of']): (string | number)[] =>
  'start' in of
    ? ['window', of.start, of.end, of.limit]
    : ['bucket', of.capacity, of.perMs, of.debt]
