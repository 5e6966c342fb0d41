import { LinkedList } from '../../../core/index.js'
import { type Band, Ranking, type Waiter } from '../../waiting-room.js'
import type { Claim, LinesBand, Place, TenantLine, Ticket } from './tenant.js'

/** So many void places more than lines may be kept: they cost memory, and no turn. */
const VOID_KEPT = 16

/** What a band must know of the others. */
export interface BandOwner {
  /** The line of calls without a tenant. */
  unclaimedLine(band: LinesBand): TenantLine
  /** The charge for a call that came before any had a tenant. */
  unclaimedCharge(): number
  /** So many calls more of the line wait, or less. */
  waits(line: TenantLine, change: number): void
  linesIn(band: LinesBand): TenantLine[]
}

/**
 * The calls of one priority: the tenant with the least service for its weight goes next, and within
 * a tenant who came first. A tenant that comes, or comes back after a while, starts at the least of
 * those who wait: what it did not use is not saved up for it. It goes before those with the same,
 * so with n tenants it starts within n turns, however many calls of the others wait.
 */
export class TenantBand implements Band<Ticket>, LinesBand {
  readonly priority: number
  size = 0
  lines = 0
  readonly #owner: BandOwner
  /** Those with no more service than the least of the others, in order of arrival. */
  readonly #newcomers = new LinkedList<TenantLine>()
  /** The places of the others. Those that are void go when they come to the head. */
  readonly #ranking = new Ranking<Place>()
  #voidPlaces = 0
  /** The most service that a line had when a call of it began. */
  #served = 0
  /** The weights of all lines with calls. */
  #weights = 0
  /** Of calls that came before any had a tenant. While there are no others, they just take turns. */
  #unclaimed: TenantLine | undefined
  #isShared = false

  constructor(priority: number, owner: BandOwner) {
    this.priority = priority
    this.#owner = owner
  }

  /** Going by turns; lines with much service behind them wait for longer. */
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

  /** From now on tenants take turns, those who came before any as one of them. */
  #share(): void {
    this.#isShared = true
    const earlier = this.#unclaimed
    if (earlier !== undefined && earlier.size > 0) this.#noteMore(earlier, earlier.size)
  }

  /** So many calls of the line have come. */
  #noteMore(line: TenantLine, count: number): void {
    this.#owner.waits(line, count)
    if (line.size > count) return
    this.#weights += line.tenant.weight
    if (line.place !== undefined) return
    if (line.service <= this.#least) this.#newcomers.add(line)
    else this.#ranking.add(line.takePlace())
  }

  /** A call of the line has left, for its turn or for good. */
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

  /** A line that was charged too much must not wait for what it did not have. */
  corrected(line: TenantLine): void {
    if (line.place === undefined || line.service >= -line.place.priority) return
    line.place = undefined
    if (line.size > 0) this.#ranking.add(line.takePlace())
    if (++this.#voidPlaces > this.lines + VOID_KEPT) this.#rank()
  }

  /** The unit of all service has changed, that of the lines already. */
  rescale(factor: number): void {
    this.#served *= factor
    this.#rank()
  }

  /** Gives all lines their places anew. */
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

  /** The first place of a line with calls. */
  get #first(): Place | undefined {
    let first = this.#ranking.first
    while (first !== undefined && !first.isValid) {
      this.#dropFirst(first)
      first = this.#ranking.first
    }
    return first
  }

  /** The least service of those who wait, newcomers aside. */
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
