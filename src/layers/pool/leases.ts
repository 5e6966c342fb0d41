import {
  type Context,
  deadlines,
  type Expiring,
  follow,
  type Handler,
  type MaybePromise,
  NOT_WAITING,
  QueueFullError,
} from '../../core/index.js'
import { shutError } from '../gate.js'
import { type Waiter, WaitingRoom } from '../waiting-room.js'
import type { Affinity } from './affinity.js'
import { Lease } from './lease.js'
import { Member, type PoolMember } from './member.js'

export interface LeasesOptions {
  name: string
  connections: number
  maxWaiting: number
  members: readonly PoolMember[]
  gate: 'member' | 'model'
  affinity: Affinity | undefined
}

/** The connections of one `pool()`: who has one, who waits for one, and which member is next. */
export class Leases implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly name: string
  readonly #options: LeasesOptions
  readonly #members: readonly Member[]
  /** Waiting calls: one room, or one per model when models have their own gates. */
  readonly #rooms = new Map<string, WaitingRoom<Lease>>()
  #turn = 0

  constructor(options: LeasesOptions) {
    const { name, connections, members } = options
    this.name = name
    this.#options = options
    this.#members = members.map((member, index) => new Member(index, member, connections))
  }

  /** Runs a call, immediately or when a connection is free. */
  run<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ): MaybePromise<Answer> {
    const { gate, affinity } = this.#options
    const model = gate === 'model' ? (context.base.model?.(request) ?? '') : ''
    const hasOthers = this.#members.length > 1
    const conversation = hasOthers ? affinity?.conversationOf(request, context) : undefined
    const lease = new Lease(this, request, context, { model, hasOthers, conversation })
    // A new call must not overtake waiting calls.
    const isFirst = !this.#rooms.get(model)?.waiting
    const member = isFirst ? this.#choose(lease) : undefined
    this.#checkOptional(context, member)
    if (member === undefined) return this.#runLater(next, request, lease)
    this.#give(lease, member)
    return follow(next, request, lease.inward, lease)
  }

  /** Rejects a call that must not wait when no member is ready. */
  #checkOptional({ optional, elsewhere }: Context, member: Member | undefined): void {
    const mustBeFit = optional || elsewhere.length > 0
    if (mustBeFit && (member === undefined || member.isEjected))
      throw new QueueFullError(this.#waiting, { layer: this.name })
  }

  #runLater<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    lease: Lease,
  ): Promise<Answer> {
    const room = this.#admit(lease)
    const turn = room.wait(lease.context, lease.arrivedAt, lease)
    this.#callWaiting()
    return turn.then(
      () => {
        this.#tidy(lease.model)
        return follow(next, request, lease.inward, lease)
      },
      (error) => {
        this.#tidy(lease.model)
        throw error
      },
    )
  }

  /** Returns the room to wait in. Throws when the call may not wait. */
  #admit(lease: Lease): WaitingRoom<Lease> {
    const { name, maxWaiting } = this.#options
    const opensAt = this.#opensAt(lease)
    // With `maxWaiting: 0` the pause is the reason for the rejection.
    if (maxWaiting === 0 && opensAt > 0) throw shutError(this.name, opensAt)
    if (this.#waiting >= maxWaiting) throw new QueueFullError(maxWaiting, { layer: name })
    let room = this.#rooms.get(lease.model)
    if (room === undefined) {
      room = new WaitingRoom({ layer: name, maxWaiting: Number.POSITIVE_INFINITY })
      this.#rooms.set(lease.model, room)
    }
    if (opensAt >= room.limit(lease.context, lease.arrivedAt)) throw shutError(this.name, opensAt)
    return room
  }

  /** Removes an empty room. */
  #tidy(model: string): void {
    if (this.#rooms.get(model)?.waiting === 0) this.#rooms.delete(model)
    if (this.#rooms.size === 0) deadlines.clear(this)
  }

  get #waiting(): number {
    let waiting = 0
    for (const room of this.#rooms.values()) waiting += room.waiting
    return waiting
  }

  /**
   * The member with a free connection for the call: the least loaded for its weight among those it
   * may use. Ejected members, and those that have failed the call, come last.
   */
  #choose(lease: Lease): Member | undefined {
    const preferred = this.#preferredBy(lease)
    if (preferred !== undefined) return preferred
    let best: Member | undefined
    let bestRank = Number.POSITIVE_INFINITY
    for (const member of this.#members) {
      if (!member.isFree || !lease.mayGoTo(member)) continue
      const rank = avoidance(member, lease.failed) * 1e9 + member.active / member.weight
      if (best === undefined || rank < bestRank || (rank === bestRank && member.turn < best.turn)) {
        best = member
        bestRank = rank
      }
    }
    return best?.isEjected && this.#opensAt(lease) > 0 ? undefined : best
  }

  /** The member that the call's conversation is with. */
  #preferredBy(lease: Lease): Member | undefined {
    const { affinity } = this.#options
    if (affinity === undefined || lease.conversation === undefined) return undefined
    const isFit = (member: Member) =>
      member.isFree &&
      !member.isEjected &&
      lease.mayGoTo(member) &&
      lease.failed?.has(member.index) !== true
    return affinity.choose(lease.conversation, this.#members, isFit)
  }

  #give(lease: Lease, member: Member): void {
    // Turns rotate by weight. A member that was skipped for a while does not catch up.
    this.#turn = Math.max(this.#turn, member.turn)
    member.turn = this.#turn + 1 / member.weight
    if (lease.conversation !== undefined)
      this.#options.affinity?.remember(lease.conversation, member)
    lease.take(member)
  }

  /** Starts waiting calls while members with free connections may take them. */
  #callWaiting(): void {
    while (this.#callNext());
    const opensAt = this.#earliest
    if (opensAt === undefined) deadlines.clear(this)
    else deadlines.set(this, opensAt)
  }

  /**
   * Starts one waiting call; false when none can start. Among models, the call with the highest
   * priority goes first, then the oldest.
   */
  #callNext(): boolean {
    let first: Waiter<Lease> | undefined
    let member: Member | undefined
    for (const room of this.#rooms.values()) {
      const waiter = room.next()
      if (waiter === undefined || !isBefore(waiter, first)) continue
      const chosen = this.#choose(waiter.ticket as Lease)
      if (chosen === undefined) continue
      first = waiter
      member = chosen
    }
    if (first === undefined || member === undefined) return false
    this.#give(first.ticket as Lease, member)
    first.call()
    return true
  }

  /** When the next closed gate with waiting calls opens; undefined when there is none. */
  get #earliest(): number | undefined {
    let earliest = Number.POSITIVE_INFINITY
    for (const [model, room] of this.#rooms) {
      if (room.waiting === 0) continue
      for (const member of this.#members) {
        const gate = member.gateOf(model)
        if (gate.isShut) earliest = Math.min(earliest, gate.opensAt)
      }
    }
    return earliest === Number.POSITIVE_INFINITY ? undefined : earliest
  }

  /** A gate opens. */
  expire(): void {
    this.#callWaiting()
  }

  /**
   * When the first gate opens for the call, preferably of a member that is not ejected. 0 when one
   * is open, even if it has no free connection.
   */
  #opensAt(lease: Lease): number {
    if (lease.isOfOwnKey) return 0
    const fit = this.#members.filter(({ isEjected }) => !isEjected)
    let earliest = Number.POSITIVE_INFINITY
    for (const member of fit.length > 0 ? fit : this.#members) {
      const gate = member.gateOf(lease.model)
      if (!gate.isShut) return 0
      earliest = Math.min(earliest, gate.opensAt)
    }
    return earliest
  }

  /** @internal */
  succeeded(): void {
    if (this.#rooms.size > 0) this.#callWaiting()
  }

  /** Rejects waiting calls that cannot wait until a member opens. @internal */
  paused(lease: Lease): void {
    const opensAt = this.#opensAt(lease)
    const waiters = this.#rooms.get(lease.model)?.all() ?? []
    for (const waiter of waiters)
      if (waiter.limit <= opensAt && waiter.ticket?.isOfOwnKey === false)
        waiter.refuse(shutError(this.name, opensAt))
  }

  /** @internal */
  release(member: Member): void {
    member.active--
    if (this.#rooms.size > 0) this.#callWaiting()
  }

  /**
   * Whether another attempt of the call would go to a member that has not failed it yet. @internal
   */
  hasOther(lease: Lease): boolean {
    return this.#members.some(
      (member) =>
        lease.failed?.has(member.index) === false &&
        member.isFree &&
        !member.isEjected &&
        lease.mayGoTo(member),
    )
  }

  stats() {
    const { connections } = this.#options
    const max = connections * this.#members.length
    const active = this.#members.reduce((sum, member) => sum + member.active, 0)
    return {
      max,
      active,
      available: max - active,
      waiting: this.#waiting,
      members: this.#members.map(({ active, state }) => ({ active, state })),
    }
  }
}

function avoidance({ index, isEjected }: Member, failed: ReadonlySet<number> | undefined): number {
  if (isEjected) return 2
  return failed?.has(index) ? 1 : 0
}

function isBefore(waiter: Waiter<Lease>, other: Waiter<Lease> | undefined): boolean {
  const [one, two] = [waiter.ticket as Lease, other?.ticket]
  if (two === undefined) return true
  const { priority } = one.context
  return priority === two.context.priority
    ? one.arrivedAt < two.arrivedAt
    : priority > two.context.priority
}
