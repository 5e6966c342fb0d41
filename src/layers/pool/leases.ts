import {
  ANSWERED_BY,
  type Context,
  ELSEWHERE,
  follow,
  type Handler,
  isOfOwnKey,
  isRecord,
  type MaybePromise,
  QueueFullError,
  type StreamEnd,
  TimeoutError,
} from '../../core/index.js'
import { WaitingRoom } from '../waiting-room.js'
import { Member, type PoolMember } from './member.js'

export interface LeasesOptions {
  name: string
  connections: number
  maxWaiting: number
  members: readonly PoolMember[]
}

/** What the pool remembers of one call, in its `meta`. */
interface Note {
  readonly member: number
  readonly failed: Set<number>
}

/** The connections of one `pool()`: who has one, who waits for one, and which member is next. */
export class Leases {
  readonly #name: string
  readonly #members: readonly Member[]
  readonly #max: number
  readonly #room: WaitingRoom
  /** Connections leased, or promised to a waiting call that has been called in. */
  #taken = 0
  #turn = 0

  constructor({ name, connections, maxWaiting, members }: LeasesOptions) {
    this.#name = name
    this.#members = members.map((member, index) => new Member(index, member, connections))
    this.#max = connections * members.length
    this.#room = new WaitingRoom({ layer: name, maxWaiting })
  }

  /** Runs the call, at once or when there is a connection for it. */
  run<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ): MaybePromise<Answer> {
    if (context.optional || context.elsewhere.length > 0) this.#admitAtOnce(context)
    // While somebody waits, all are taken.
    if (this.#taken >= this.#max) return this.#runLater(next, request, context)
    this.#taken++
    return this.#lease(next, request, context)
  }

  /** Refuses a call that may not wait, when no member is ready for it. */
  #admitAtOnce({ elsewhere }: Context): void {
    const isFit = (member: Member) => member.isFit && !elsewhere.includes(member.index)
    if (this.#taken >= this.#max || !this.#members.some(isFit))
      throw new QueueFullError(this.#room.waiting, { layer: this.#name })
  }

  #runLater<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ): Promise<Answer> {
    this.#room.admit()
    return this.#room.wait(context).then(() => this.#lease(next, request, context))
  }

  #lease<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ): MaybePromise<Answer> {
    const failed = this.#members.length > 1 ? failedIn(context.meta.get(this.#name)) : undefined
    const member = this.#choose(failed, context.elsewhere)
    member.active++
    if (failed) this.#note(context, member.index, failed)
    const inward = context.derive({ transport: member.transport })
    return follow(next, request, inward, new Lease(this, member, request, context, failed))
  }

  #note({ meta }: Context, member: number, failed: Set<number>): void {
    meta.set(this.#name, { member, failed } satisfies Note)
    const by = meta.get(ANSWERED_BY)
    meta.set(ANSWERED_BY, { ...(isRecord(by) && by), member })
  }

  /** The free member with the least load for its weight; one that does badly only in need. */
  #choose(failed: ReadonlySet<number> | undefined, elsewhere: readonly number[]): Member {
    let best: Member | undefined
    let bestRank = Number.POSITIVE_INFINITY
    for (const member of this.#members) {
      if (!member.isFree || elsewhere.includes(member.index)) continue
      const rank = avoidance(member, failed) * 1e9 + member.active / member.weight
      if (best === undefined || rank < bestRank || (rank === bestRank && member.turn < best.turn)) {
        best = member
        bestRank = rank
      }
    }
    // No more are taken than the members have together.
    const chosen = best as Member
    // Turns go round by weight; one that was left out for a while has none to catch up on.
    this.#turn = Math.max(this.#turn, chosen.turn)
    chosen.turn = this.#turn + 1 / chosen.weight
    return chosen
  }

  /** @internal */
  release(member: Member): void {
    member.active--
    // The connection passes straight to the next one who waits.
    if (!this.#room.callNext()) this.#taken--
  }

  /** Whether another attempt of a call would go to a member that has not failed it. @internal */
  hasOther(failed: ReadonlySet<number>): boolean {
    return this.#members.some((member) => !failed.has(member.index) && member.isFit)
  }

  stats() {
    const active = this.#members.reduce((sum, member) => sum + member.active, 0)
    return {
      max: this.#max,
      active,
      available: this.#max - active,
      waiting: this.#room.waiting,
      members: this.#members.map(({ active, state }) => ({ active, state })),
    }
  }
}

/** One call's connection, to the end of its answer. */
class Lease {
  readonly #leases: Leases
  readonly #member: Member
  readonly #request: unknown
  readonly #context: Context
  /** Who has failed the call, when there are others. */
  readonly #failed: Set<number> | undefined

  constructor(
    leases: Leases,
    member: Member,
    request: unknown,
    context: Context,
    failed: Set<number> | undefined,
  ) {
    this.#leases = leases
    this.#member = member
    this.#request = request
    this.#context = context
    this.#failed = failed
  }

  ended({ outcome, error }: StreamEnd): void {
    if (outcome === 'failed') this.#fail(error)
    else if (outcome === 'complete') this.#member.succeeded()
    this.#leases.release(this.#member)
  }

  #fail(error: unknown): void {
    const { cancel, meta } = this.#context
    if (cancel.aborted && !(cancel.reason instanceof TimeoutError)) return
    if (isOfOwnKey(error, this.#request, this.#context)) {
      // Another member would send the same key, so the wait that was asked for is for the next
      // attempt as well.
      meta.set(ELSEWHERE, false)
      return
    }
    this.#member.failed(error)
    if (this.#failed === undefined) return
    this.#failed.add(this.#member.index)
    meta.set(ELSEWHERE, this.#leases.hasOther(this.#failed))
  }
}

function avoidance({ index, state }: Member, failed: ReadonlySet<number> | undefined): number {
  if (state === 'ready') return failed?.has(index) ? 1 : 0
  return state === 'paused' ? 2 : 3
}

/** Who has failed this call already. The map may be the caller's own, so anything may be in it. */
function failedIn(note: unknown): Set<number> {
  const failed = (note as Partial<Note> | null | undefined)?.failed
  return failed instanceof Set ? failed : new Set()
}
