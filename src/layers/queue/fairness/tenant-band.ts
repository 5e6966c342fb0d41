import { LinkedList } from '../../../core/index.js'
import { type Band, Ranking, type Waiter } from '../../waiting-room.js'
import type { Claim, LinesBand, Place, TenantLine, Ticket } from './tenant.js'

/**
 * How many void places may be kept beyond the number of lines. They use memory, but get no turn.
 */
const VOID_KEPT = 16

/** What a band needs from its owner. */
export interface BandOwner {
  /** The line of calls without a tenant. */
  unclaimedLine(band: LinesBand): TenantLine
  /** The charge for a call that arrived before any call had a tenant. */
  unclaimedCharge(): number
  /** The line's number of waiting calls has changed. */
  waits(line: TenantLine, change: number): void
  linesIn(band: LinesBand): TenantLine[]
}

/**
 * The calls of one priority. The tenant with the least service for its weight goes next; within a
 * tenant, the oldest call. A tenant that is new or returns after a while starts at the least
 * service among those waiting, so it cannot save up unused turns. It goes before others with equal
 * service. With n tenants it therefore starts within n turns, however many calls the others have
 * waiting.
 */
export class TenantBand implements Band<Ticket>, LinesBand {
  readonly priority: number
  size = 0
  lines = 0
  readonly #owner: BandOwner
  /** Lines with no more service than the least of the others, in order of arrival. */
  readonly #newcomers = new LinkedList<TenantLine>()
  /** The places of all other lines. Void places are dropped when they reach the head. */
  readonly #ranking = new Ranking<Place>()
  #voidPlaces = 0
  /** The most service that a line had when one of its calls started. */
  #served = 0
  /** Sum of the weights of all lines with calls. */
  #weights = 0
  /**
   * The line of calls that arrived before any call had a tenant. While it is alone, calls just take
   * turns.
   */
  #unclaimed: TenantLine | undefined
  #isShared = false

  constructor(priority: number, owner: BandOwner) {
    this.priority = priority
    this.#owner = owner
  }

  /** Estimates by turns. Lines with much past service wait longer than this. */
  ahead(ticket: Ticket | undefined): number {
    if (ticket?.claim === undefined) return this.size
    const { line } = ticket.claim
    const { weight } = line.tenant
    const others = this.#weights - (line.size > 0 ? weight : 0)
    const turns = Math.ceil(((line.size + 1) * others) / weight)
    return Math.min(this.size, line.size + turns)
  }

  add(waiter: Waiter<Ticket>): void {
    const claim = waiter.ticket?.claim
    if (claim !== undefined && !this.#isShared) this.#share()
    const line = this.#lineOf(claim)
    line.calls.add(waiter)
    line.size++
    this.size++
    if (this.#isShared) this.#noteMore(line, 1)
  }

  remove(waiter: Waiter<Ticket>): void {
    const line = this.#lineOf(waiter.ticket?.claim)
    line.calls.remove(waiter)
    line.size--
    this.size--
    if (this.#isShared) this.#noteLess(line)
  }

  next(): Waiter<Ticket> {
    if (!this.#isShared) return this.#unclaimed?.calls.first as Waiter<Ticket>
    const line = this.#newcomers.first ?? this.#takeLeast()
    if (this.#newcomers.remove(line)) line.service = Math.max(line.service, this.#least)
    const waiter = line.calls.first as Waiter<Ticket>
    const claim = waiter.ticket?.claim
    if (claim === undefined) this.charge(line, this.#owner.unclaimedCharge())
    else claim.begin()
    if (line.size > 1) this.#ranking.add(line.takePlace())
    return waiter
  }

  all(): readonly Waiter<Ticket>[] {
    const lines = this.#isShared ? this.#owner.linesIn(this) : [this.#lineOf(undefined)]
    return lines.flatMap((line) => line.calls.all())
  }

  /** From now on tenants take turns. The earlier calls, without a tenant, count as one tenant. */
  #share(): void {
    this.#isShared = true
    const earlier = this.#unclaimed
    if (earlier !== undefined && earlier.size > 0) this.#noteMore(earlier, earlier.size)
  }

  /** `count` calls have joined the line. */
  #noteMore(line: TenantLine, count: number): void {
    this.#owner.waits(line, count)
    if (line.size > count) return
    this.#weights += line.tenant.weight
    if (line.place !== undefined) return
    if (line.service <= this.#least) this.#newcomers.add(line)
    else this.#ranking.add(line.takePlace())
  }

  /** A call has left the line, for its turn or for good. */
  #noteLess(line: TenantLine): void {
    if (line.size === 0) {
      this.#weights = this.size === 0 ? 0 : this.#weights - line.tenant.weight
      this.#newcomers.remove(line)
    }
    this.#owner.waits(line, -1)
  }

  shareOf({ service }: TenantLine): number {
    return Math.max(service, this.#least)
  }

  pass(line: TenantLine): void {
    line.service = Math.max(line.service, this.#least)
  }

  charge(line: TenantLine, service: number): void {
    this.#served = Math.max(this.#served, line.service)
    line.service += service
  }

  /** Moves a line forward that was charged too much. */
  corrected(line: TenantLine): void {
    if (line.place === undefined || line.service >= -line.place.priority) return
    line.place = undefined
    if (line.size > 0) this.#ranking.add(line.takePlace())
    if (++this.#voidPlaces > this.lines + VOID_KEPT) this.#rank()
  }

  /** The unit of service has changed. The lines are already converted. */
  rescale(factor: number): void {
    this.#served *= factor
    this.#rank()
  }

  /** Gives all lines new places. */
  #rank(): void {
    const lines: TenantLine[] = []
    for (let place = this.#first; place !== undefined; place = this.#first) {
      lines.push(place.line)
      this.#dropFirst(place)
    }
    for (const line of lines) this.#ranking.add(line.takePlace())
  }

  #lineOf(claim: Claim | undefined): TenantLine {
    if (claim !== undefined) return claim.line
    this.#unclaimed ??= this.#owner.unclaimedLine(this)
    return this.#unclaimed
  }

  /** The first valid place. */
  get #first(): Place | undefined {
    let first = this.#ranking.first
    while (first !== undefined && !first.isValid) {
      this.#dropFirst(first)
      first = this.#ranking.first
    }
    return first
  }

  /** The least service among waiting lines, except newcomers. */
  get #least(): number {
    const first = this.#first
    return first === undefined ? this.#served : Math.min(first.line.service, -first.priority)
  }

  #takeLeast(): TenantLine {
    for (;;) {
      const first = this.#first as Place
      this.#dropFirst(first)
      if (!first.isAhead) return first.line
      this.#ranking.add(first.line.takePlace())
    }
  }

  #dropFirst(first: Place): void {
    this.#ranking.removeFirst()
    if (first.line.place === first) first.line.place = undefined
    else this.#voidPlaces--
  }
}
