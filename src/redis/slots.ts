import { randomUUID } from 'node:crypto'
import { now, type SharedSlot, type SharedSlots, slices, Timer } from '../core/index.js'
import type { Connection } from './connection.js'
import type { Messages } from './messages.js'
import { ALONE } from './operations.js'
import { runScript } from './run-script.js'
import { GIVE_BACK, KEEP, LEAVE, TAKE } from './slot-scripts.js'

/**
 * Duration of a slot's lease: until the deadline of its call and this much longer, but at most
 * twice this value, so that the slots of a killed process are freed soon. Leases are renewed after
 * a third of it. Milliseconds.
 */
const LEASE_MS = 30_000

/** Delay before a failed update of slots is repeated. Milliseconds. */
const AGAIN_MS = 1_000
/** Maximum number of slots per command. */
const AT_ONCE = 1_000

/** The lease of a slot in Redis. */
interface Lease {
  readonly id: string
  /** Whether the slot was, or may have been, taken in Redis. */
  isTaken: boolean
}

/** The slots of one queue in Redis: a sorted set of leases. Times are on Redis' clock. */
export class RedisSlots implements SharedSlots {
  readonly #connection: Connection
  readonly #messages: Messages
  readonly #queue: string
  /** Keys with one hash tag, so that they are in one slot of a cluster. */
  readonly #keys: string[]
  readonly #leaseMs: number
  /** Identifies this process in the waiting line. */
  readonly #id = randomUUID()
  #count = 0
  readonly #leases = new Map<SharedSlot, Lease>()
  /** Leases that could not be released, with the latest time of their end. */
  readonly #owed = new Map<string, number>()
  /** Number of failed operations since Redis last knew all leases. */
  #failures = 0
  #renewal: Timer | undefined
  #again: Timer | undefined
  #freed: () => void = () => {}

  constructor(
    connection: Connection,
    messages: Messages,
    prefix: string,
    queue: string,
    leaseMs = LEASE_MS,
  ) {
    this.#connection = connection
    this.#messages = messages
    this.#queue = queue
    this.#leaseMs = leaseMs
    const key = `${prefix}:slots:{${queue}}`
    this.#keys = [key, `${key}:line`, `${key}:seen`]
    messages.listen({
      received: (message) => {
        const { type } = message
        if (type === 'freed' && message.queue === queue && message.to === this.#id) this.#freed()
      },
      missed: () => {
        void this.#renew()
        this.#freed()
      },
    })
  }

  get processes(): number {
    return this.#messages.processes
  }

  watch(freed: () => void): void {
    this.#freed = freed
  }

  async take(slot: SharedSlot, limit: number, waiting: number): Promise<boolean | null> {
    // First register leases that Redis does not know; otherwise it would hand out too many slots.
    if (this.#failures > 0) void this.#renew()
    const lease = { id: `${this.#id}:${++this.#count}`, isTaken: false }
    this.#leases.set(slot, lease)
    const asked = [lease.id, limit, this.#msOf(slot), this.#id, waiting]
    const reply = await this.#run<[number, ...string[]]>(TAKE, asked)
    lease.isTaken = reply === ALONE || reply[0] === 1
    if (lease.isTaken) this.#renewLater()
    else this.#leases.delete(slot)
    if (reply === ALONE) return null
    this.#call(reply.slice(1) as string[])
    return lease.isTaken
  }

  giveBack(slot: SharedSlot): void {
    const lease = this.#leases.get(slot)
    if (lease === undefined) return
    this.#leases.delete(slot)
    void this.#giveBack([lease.id])
  }

  leave(): void {
    void this.#run<string[]>(LEAVE, [this.#id]).then((first) => {
      if (first !== ALONE) this.#call(first)
    })
  }

  async #giveBack(ids: readonly string[]): Promise<void> {
    const first = await this.#run<string[]>(GIVE_BACK, ids)
    if (first === ALONE) return this.#owe(ids)
    for (const id of ids) this.#owed.delete(id)
    this.#call(first)
  }

  #owe(ids: readonly string[]): void {
    const until = now() + 2 * this.#leaseMs
    for (const id of ids) if (!this.#owed.has(id)) this.#owed.set(id, until)
  }

  /** Repeats failed updates. */
  #tryAgain(): void {
    this.#again = undefined
    if (this.#failures > 0) void this.#renew()
    for (const [id, until] of this.#owed) if (until < now()) this.#owed.delete(id)
    for (const ids of slices([...this.#owed.keys()], AT_ONCE)) void this.#giveBack(ids)
  }

  #renewLater(): void {
    this.#renewal ??= new Timer(this.#leaseMs / 3, () => {
      this.#renewal = undefined
      if (this.#leases.size === 0) return
      void this.#renew()
      this.#renewLater()
    }).unref()
  }

  /** Renews all leases of this process, including those that Redis does not know. */
  async #renew(): Promise<void> {
    const failures = this.#failures
    const kept = [...this.#leases].flatMap(([slot, { id, isTaken }]) =>
      isTaken ? [id, this.#msOf(slot)] : [],
    )
    const isKnown = kept.length === 0 || (await this.#run(KEEP, kept)) !== ALONE
    if (isKnown && failures === this.#failures) this.#failures = 0
  }

  #msOf({ deadline }: SharedSlot): number {
    return Math.ceil(this.#leaseMs + Math.min(Math.max(0, deadline - now()), this.#leaseMs))
  }

  /** Notifies the processes that may take a slot, which may include this one. */
  #call(first: readonly string[]): void {
    for (const id of first)
      if (id === this.#id) this.#freed()
      else this.#messages.send({ type: 'freed', queue: this.#queue, to: id })
  }

  async #run<Reply>(
    script: string,
    asked: readonly (string | number)[],
  ): Promise<Reply | typeof ALONE> {
    const reply = await this.#connection.run((client) =>
      runScript<Reply>(client, script, this.#keys, asked.map(String)),
    )
    if (reply === ALONE) {
      this.#failures++
      this.#again ??= new Timer(AGAIN_MS, () => this.#tryAgain()).unref()
    }
    return reply
  }
}
