import { type Context, LinkedList, now, type TokenUsage } from '../../../core/index.js'
import type { Waiter } from '../../waiting-room.js'
import { jainIndex } from './jain.js'
import { LongestLines } from './longest-lines.js'
import { Service } from './service.js'
import {
  Claim,
  type ClaimOwner,
  type LinesBand,
  Tenant,
  TenantLine,
  type Ticket,
} from './tenant.js'
import { type BandOwner, TenantBand } from './tenant-band.js'

export type { Claim, Ticket } from './tenant.js'

/** Half-life of past service. Milliseconds. */
const HALF_LIFE_MS = 60_000
/**
 * Instead of reducing all past charges over time, new charges are scaled up, which preserves the
 * order at no cost. After this many half-lives all numbers are scaled down.
 */
const HALF_LIVES = 500

/** How many tenants without calls are remembered. */
const IDLE_KEPT = 1_000
/** How many lines of a tenant without calls are remembered. */
const LINES_KEPT = 4

/** The calls of one tenant in a queue. */
export interface QueueTenant {
  /** Absent for calls without a tenant. */
  readonly tenant?: string | undefined
  readonly running: number
  readonly waiting: number
}

export interface FairnessOptions {
  maxWaiting: number
  /** Weights of tenants; the default is 1. */
  weights: ReadonlyMap<string, number>
}

/** Shares the turns of a queue among tenants by the service they have had. */
export class Fairness implements BandOwner, ClaimOwner {
  readonly #options: FairnessOptions
  readonly #tenants = new Map<string, Tenant>()
  /** Stands for all calls without a tenant. */
  readonly #nobody = new Tenant(undefined, 1)
  readonly #bands = new Map<number, TenantBand>()
  readonly #service = new Service()
  readonly #longest = new LongestLines()
  /** Ordered by how long a tenant has had no calls, longest first. */
  readonly #idle = new LinkedList<Tenant>()
  #idleCount = 0
  /** Whether any call has named a tenant. */
  #isInUse = false
  /** When one unit of service was worth 1. */
  #origin = now()

  constructor(options: FairnessOptions) {
    this.#options = options
  }

  /** A call's claim; undefined while no call has named a tenant. */
  claim(request: unknown, { tenant, priority, base }: Context): Claim | undefined {
    if (tenant !== undefined) this.#isInUse = true
    else if (!this.#isInUse) return undefined
    const line = this.#lineOf(tenant, this.bandOf(priority))
    return new Claim(this, line, this.#service.expected(base, request))
  }

  /** The waiting call that is displaced when the queue is full and this one arrives. */
  displacedBy({ line: { band, tenant } }: Claim): Waiter<Ticket> | undefined {
    const other = this.#longest.above(tenant, this.#options.maxWaiting)
    let last: TenantLine | undefined
    for (const line of other?.lines ?? [])
      if (line.size > 0 && (last === undefined || line.band.priority < last.band.priority))
        last = line
    return last === undefined || last.band.priority > band.priority ? undefined : last.calls.last
  }

  bandOf(priority: number): TenantBand {
    let band = this.#bands.get(priority)
    if (band === undefined) {
      band = new TenantBand(priority, this)
      this.#bands.set(priority, band)
    }
    return band
  }

  #lineOf(name: string | undefined, band: LinesBand): TenantLine {
    const tenant = name === undefined ? this.#nobody : this.#tenantOf(name)
    let line = tenant.lineIn(band)
    if (line === undefined) {
      line = new TenantLine(band, tenant)
      tenant.lines.push(line)
      band.lines++
    }
    return line
  }

  #tenantOf(name: string): Tenant {
    let tenant = this.#tenants.get(name)
    if (tenant === undefined) {
      tenant = new Tenant(name, this.#options.weights.get(name) ?? 1)
      this.#tenants.set(name, tenant)
      this.#rest(tenant)
    }
    return tenant
  }

  /** Called when a tenant has no calls. */
  #rest(tenant: Tenant): void {
    if (tenant === this.#nobody) return
    this.#idle.add(tenant)
    if (this.#idleCount < IDLE_KEPT) this.#idleCount++
    else this.#forget(this.#idle.first as Tenant)
  }

  #wake(tenant: Tenant): void {
    if (this.#idle.remove(tenant)) this.#idleCount--
  }

  #forget(tenant: Tenant): void {
    this.#idle.remove(tenant)
    this.#tenants.delete(tenant.name as string)
    for (const line of tenant.lines) this.#forgetLine(line)
  }

  #forgetLine({ band }: TenantLine): void {
    if (--band.lines === 0) this.#bands.delete(band.priority)
  }

  /** @internal */
  waits(line: TenantLine, change: number): void {
    const { tenant } = line
    const before = tenant.waiting
    if (tenant.isIdle) this.#wake(tenant)
    tenant.waiting += change
    this.#longest.moved(tenant, before)
    this.#tidy(line)
  }

  /** @internal */
  runs(line: TenantLine, change: 1 | -1): void {
    const { tenant } = line
    if (tenant.isIdle) this.#wake(tenant)
    tenant.running += change
    line.running += change
    this.#tidy(line)
  }

  #tidy(line: TenantLine): void {
    if (line.size > 0 || line.running > 0) return
    const { tenant } = line
    if (tenant.lines.length > LINES_KEPT) {
      tenant.lines.splice(tenant.lines.indexOf(line), 1)
      this.#forgetLine(line)
    }
    if (tenant.isIdle) this.#rest(tenant)
  }

  /** @internal */
  linesIn(band: LinesBand): TenantLine[] {
    const lines: TenantLine[] = []
    for (const tenant of [...this.#tenants.values(), this.#nobody]) {
      const line = tenant.lineIn(band)
      if (line !== undefined) lines.push(line)
    }
    return lines
  }

  /** @internal */
  unclaimedLine(band: LinesBand): TenantLine {
    return this.#lineOf(undefined, band)
  }

  /** @internal */
  unclaimedCharge(): number {
    return this.#service.usual * this.worth(now())
  }

  /** @internal */
  serviceOf(usage: TokenUsage): number {
    return this.#service.counted(usage)
  }

  /** @internal */
  worth(at: number): number {
    const halfLives = (at - this.#origin) / HALF_LIFE_MS
    if (halfLives < HALF_LIVES) return 2 ** halfLives
    this.#rescale(Math.floor(halfLives))
    return this.worth(at)
  }

  #rescale(halfLives: number): void {
    const factor = 2 ** -halfLives
    this.#origin += halfLives * HALF_LIFE_MS
    for (const { lines } of [...this.#tenants.values(), this.#nobody])
      for (const line of lines) line.service *= factor
    for (const band of this.#bands.values()) band.rescale(factor)
  }

  /**
   * Tenants with calls, those with the most waiting calls first. `tenant` is absent for calls
   * without one.
   */
  busiest(count: number): QueueTenant[] {
    return [...this.#tenants.values(), this.#nobody]
      .filter((tenant) => !tenant.isIdle)
      .sort((a, b) => b.waiting - a.waiting || b.running - a.running)
      .slice(0, count)
      .map(({ name, running, waiting }) => ({
        ...(name !== undefined && { tenant: name }),
        running,
        waiting,
      }))
  }

  stats(): { tenants: number; fairnessIndex: number } {
    let tenants = 0
    const shares = new Map<LinesBand, number[]>()
    for (const tenant of [...this.#tenants.values(), this.#nobody]) {
      if (!tenant.isIdle && tenant !== this.#nobody) tenants++
      for (const line of tenant.lines) {
        if (line.size === 0) continue
        const others = shares.get(line.band)
        if (others === undefined) shares.set(line.band, [line.band.shareOf(line)])
        else others.push(line.band.shareOf(line))
      }
    }
    // The index of the band that was shared least evenly.
    const fairnessIndex = Math.min(1, ...[...shares.values()].map(jainIndex))
    return { tenants, fairnessIndex }
  }
}
