import { Link, LinkedList, now, type TokenUsage } from '../../../core/index.js'
import type { Waiter } from '../../waiting-room.js'

/**
 * A tenant: what of it waits and runs. Its place in a list is among those of equal lines while it
 * has calls waiting, and among the idle while it has none at all.
 */
export class Tenant extends Link {
  /** `undefined`: of all calls without one. */
  readonly name: string | undefined
  readonly weight: number
  /** One for each band that it has had calls in. */
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

/** The band that a line is in. */
export interface LinesBand {
  readonly priority: number
  /** Lines that are remembered. */
  lines: number
  /** The service of a line, with what a newcomer is credited. */
  shareOf(line: TenantLine): number
  /** A call of the line begins without a wait. */
  pass(line: TenantLine): void
  /** A call of the line begins. `service`: by its weight, in the unit of now. */
  charge(line: TenantLine, service: number): void
  /** The service of a line has been corrected. */
  corrected(line: TenantLine): void
}

/** A tenant's calls in one band, in order of arrival, and the service that it has had there. */
export class TenantLine extends Link {
  readonly band: LinesBand
  readonly tenant: Tenant
  readonly calls = new LinkedList<Waiter<Ticket>>()
  size = 0
  running = 0
  /** By weight, in the unit of its time. */
  service = 0
  /** Where it stands among the others of its band. */
  place: Place | undefined

  constructor(band: LinesBand, tenant: Tenant) {
    super()
    this.band = band
    this.tenant = tenant
  }

  /** Takes a place by the service of now. An earlier one is void. */
  takePlace(): Place {
    this.place = new Place(this)
    return this.place
  }
}

/** A place of a line in the ranking of its band, which never moves. */
export class Place {
  readonly line: TenantLine
  /** The less service, the earlier. */
  readonly priority: number

  constructor(line: TenantLine) {
    this.line = line
    this.priority = -line.service
  }

  /** Whether the line has taken no other since, and has calls. */
  get isValid(): boolean {
    return this.line.place === this && this.line.size > 0
  }

  /** Whether the line has been charged since it took it. */
  get isAhead(): boolean {
    return this.line.service > -this.priority
  }
}

/** What waits in a band: something with a claim, unless no call has named a tenant yet. */
export interface Ticket {
  readonly claim: Claim | undefined
}

/** What a claim must know of the fairness that it is part of. */
export interface ClaimOwner {
  /** What service is worth that is charged at that moment. */
  worth(at: number): number
  /** What the tokens come to as service. */
  serviceOf(usage: TokenUsage): number
  /** A call of the line runs, or has ended. */
  runs(line: TenantLine, change: 1 | -1): void
}

/** One call's claim to service: its tenant's line, and what the call is expected to cost. */
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

  /** The call begins without a wait. */
  pass(): void {
    this.line.band.pass(this.line)
    this.begin()
  }

  /** The call begins: its tenant is charged what it is expected to cost. */
  begin(): void {
    this.#since = now()
    this.line.band.charge(this.line, this.#byWeight(this.#expected))
    this.#owner.runs(this.line, 1)
  }

  /** The call has ended. Without its usage the expectation stays. */
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

  /** As charged at the beginning of the call. */
  #byWeight(service: number): number {
    return (service * this.#owner.worth(this.#since)) / this.line.tenant.weight
  }
}
