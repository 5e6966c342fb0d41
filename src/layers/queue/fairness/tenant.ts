import { Link, LinkedList, now, type TokenUsage } from '../../../core/index.js'
import type { Waiter } from '../../waiting-room.js'

/**
 * A tenant, with its waiting and running calls. While it has waiting calls it is in a list of
 * tenants with equally many; while it has no calls at all, in the list of idle tenants.
 */
export class Tenant extends Link {
  /** `undefined` stands for all calls without a tenant. */
  readonly name: string | undefined
  readonly weight: number
  /** One line for each band in which it has had calls. */
  readonly lines: TenantLine[] = []
  waiting = 0
  running = 0

  constructor(name: string | undefined, weight: number) {
    super()
    this.name = name
    this.weight = weight
  }

  get isIdle(): boolean {
    return this.waiting === 0 && this.running === 0
  }

  lineIn(band: LinesBand): TenantLine | undefined {
    for (const line of this.lines) if (line.band === band) return line
    return undefined
  }
}

/** The band that a line belongs to. */
export interface LinesBand {
  readonly priority: number
  /** Number of lines remembered. */
  lines: number
  /** A line's service, at least what a newcomer is credited with. */
  shareOf(line: TenantLine): number
  /** A call of the line starts without waiting. */
  pass(line: TenantLine): void
  /** A call of the line starts. `service` is scaled by weight, in the current unit. */
  charge(line: TenantLine, service: number): void
  /** A line's service has been corrected. */
  corrected(line: TenantLine): void
}

/** A tenant's calls in one band, in order of arrival, and its service in that band. */
export class TenantLine extends Link {
  readonly band: LinesBand
  readonly tenant: Tenant
  readonly calls = new LinkedList<Waiter<Ticket>>()
  size = 0
  running = 0
  /** Scaled by weight, in the current unit. */
  service = 0
  /** Its place in the ranking of the band. */
  place: Place | undefined

  constructor(band: LinesBand, tenant: Tenant) {
    super()
    this.band = band
    this.tenant = tenant
  }

  /** Takes a new place by the current service. An earlier place becomes void. */
  takePlace(): Place {
    this.place = new Place(this)
    return this.place
  }
}

/** A line's place in the ranking of its band. It never moves. */
export class Place {
  readonly line: TenantLine
  /** Less service comes first. */
  readonly priority: number

  constructor(line: TenantLine) {
    this.line = line
    this.priority = -line.service
  }

  /** Whether this is the line's latest place and the line has calls. */
  get isValid(): boolean {
    return this.line.place === this && this.line.size > 0
  }

  /** Whether the line has been charged since it took this place. */
  get isAhead(): boolean {
    return this.line.service > -this.priority
  }
}

/** A waiting call, as a band sees it. Without a claim when no call has named a tenant yet. */
export interface Ticket {
  readonly claim: Claim | undefined
}

/** What a claim needs from its owner. */
export interface ClaimOwner {
  /** The scale of charges at that time. */
  worth(at: number): number
  /** Converts tokens to service. */
  serviceOf(usage: TokenUsage): number
  /** A call of the line starts to run, or has ended. */
  runs(line: TenantLine, change: 1 | -1): void
}

/** One call's claim to service: its tenant's line, and its estimated cost. */
export class Claim {
  readonly line: TenantLine
  readonly #owner: ClaimOwner
  readonly #expected: number
  #since = 0

  constructor(owner: ClaimOwner, line: TenantLine, expected: number) {
    this.#owner = owner
    this.line = line
    this.#expected = expected
  }

  /** The call starts without waiting. */
  pass(): void {
    this.line.band.pass(this.line)
    this.begin()
  }

  /** The call starts. Its tenant is charged the estimated cost. */
  begin(): void {
    this.#since = now()
    this.line.band.charge(this.line, this.#byWeight(this.#expected))
    this.#owner.runs(this.line, 1)
  }

  /** The call has ended. Without a usage report, the estimate stays. */
  end(usage: TokenUsage | undefined): void {
    if (usage !== undefined) this.#correct(this.#owner.serviceOf(usage))
    this.#owner.runs(this.line, -1)
  }

  /** The call did not run after all. */
  cancel(): void {
    this.#correct(0)
    this.#owner.runs(this.line, -1)
  }

  #correct(service: number): void {
    const more = this.#byWeight(service - this.#expected)
    this.line.service = Math.max(0, this.line.service + more)
    this.line.band.corrected(this.line)
  }

  /** Scaled as when the call was charged. */
  #byWeight(service: number): number {
    return (service * this.#owner.worth(this.#since)) / this.line.tenant.weight
  }
}
