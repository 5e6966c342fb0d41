/** A call that waits, in the reference of a queue. */
export interface Place {
  readonly id: number
  readonly priority: number
  readonly tenant: string | undefined
  readonly deadline: number
  /** When it leaves by itself. */
  readonly until: number
}

interface Line {
  service: number
  /** By which service it stands among the others; undefined while it does not. */
  rank: number | undefined
  /** Whether it goes before those that stand in line. */
  isNew: boolean
  /** When it became so, or took its rank. */
  since: number
}

interface Band {
  served: number
  readonly lines: Map<string, Line>
}

/** Service counts half after a minute. */
const HALF_LIFE_MS = 60_000

/**
 * Whose turn it is in a queue, as plainly as can be said: walks through all who wait. Each call
 * costs 1.
 */
export class ReferenceTurns {
  waiting: Place[] = []
  readonly #bands = new Map<number, Band>()
  readonly #weights: Readonly<Record<string, number>>
  readonly #origin = performance.now()
  #places = 0
  /** When the number of a tenant's waiting calls last changed, and which weights were seen first. */
  readonly #moved = new Map<string, number>()
  readonly #seen: number[] = []

  constructor(weights: Readonly<Record<string, number>>) {
    this.#weights = weights
  }

  add(place: Place): void {
    const { priority, tenant } = place
    const line = this.#line(priority, tenant)
    const isFirst = this.#of(priority, tenant).length === 0
    if (isFirst && line.rank === undefined) {
      line.isNew = line.service <= this.#least(priority)
      if (!line.isNew) line.rank = line.service
      line.since = ++this.#places
    }
    this.waiting.push(place)
    this.#move(tenant)
  }

  #move(tenant: string | undefined): void {
    this.#moved.set(tenant ?? '', ++this.#places)
    const weight = this.#weight(tenant)
    if (!this.#seen.includes(weight)) this.#seen.push(weight)
  }

  remove(place: Place): void {
    this.waiting = this.waiting.filter((other) => other !== place)
    this.#move(place.tenant)
    const line = this.#line(place.priority, place.tenant)
    if (this.#of(place.priority, place.tenant).length === 0) line.isNew = false
  }

  /** Takes out whose turn it is, and charges it. */
  next(): Place {
    const priority = Math.max(...this.waiting.map((place) => place.priority))
    this.#prune(priority)
    const { lines } = this.#band(priority)
    const waiting = () => [...lines].filter(([tenant]) => this.#of(priority, tenant).length > 0)
    const byPlace = (a: [string, Line], b: [string, Line]) => a[1].since - b[1].since
    let chosen = waiting()
      .filter(([, line]) => line.isNew)
      .toSorted(byPlace)[0]
    if (chosen !== undefined) {
      chosen[1].isNew = false
      chosen[1].service = Math.max(chosen[1].service, this.#least(priority))
    } else {
      for (const [, line] of waiting()) line.rank = Math.max(line.rank ?? 0, line.service)
      chosen = waiting().toSorted(
        (a, b) => (a[1].rank as number) - (b[1].rank as number) || byPlace(a, b),
      )[0] as [string, Line]
      chosen[1].rank = undefined
    }
    const [tenant, line] = chosen
    const place = this.#of(priority, tenant)[0] as Place
    this.#charge(place, line)
    this.waiting = this.waiting.filter((other) => other !== place)
    this.#move(place.tenant)
    if (this.#of(priority, tenant).length > 0) {
      line.rank = line.service
      line.since = ++this.#places
    }
    return place
  }

  /** A call begins without a wait. */
  pass(priority: number, tenant: string | undefined): void {
    const line = this.#line(priority, tenant)
    line.service = Math.max(line.service, this.#least(priority))
    this.#charge({ priority, tenant }, line)
  }

  /** A call did not run after all: it was charged just now. */
  refund({ priority, tenant }: Place): void {
    const line = this.#line(priority, tenant)
    line.service = Math.max(0, line.service - this.#worth(tenant))
  }

  /** How many go before a newcomer. */
  ahead(priority: number, tenant: string | undefined): number {
    const above = this.waiting.filter((place) => place.priority > priority).length
    const band = this.waiting.filter((place) => place.priority === priority)
    if (tenant === undefined) return above + band.length
    const own = this.#of(priority, tenant).length
    const others = new Set(band.map((place) => place.tenant as string))
    others.delete(tenant)
    let weights = 0
    for (const other of others) weights += this.#weight(other)
    const turns = Math.ceil(((own + 1) * weights) / this.#weight(tenant))
    return above + Math.min(band.length, own + turns)
  }

  /** Who has to go when the room is full of `places`. */
  displaced(priority: number, tenant: string | undefined, places: number): Place | undefined {
    if (tenant === undefined) return undefined
    const counts = new Map<string, number>([[tenant, 0]])
    for (const place of this.waiting)
      counts.set(place.tenant as string, (counts.get(place.tenant as string) ?? 0) + 1)
    const weights = [...counts.keys()].reduce((sum, name) => sum + this.#weight(name), 0)
    const excess = (name: string) =>
      (counts.get(name) as number) - (places * this.#weight(name)) / weights
    if (excess(tenant) + 1 > 1e-6) return undefined
    // Of equals the one that has been so for longest, by weights.
    const order = (name: string) => [
      this.#seen.indexOf(this.#weight(name)),
      this.#moved.get(name) ?? 0,
    ]
    const [most] = [...counts.keys()].toSorted((a, b) => {
      const [ofA, ofB] = [order(a), order(b)] as [[number, number], [number, number]]
      return excess(b) - excess(a) || ofA[0] - ofB[0] || ofA[1] - ofB[1]
    }) as [string]
    if (excess(most) <= 1e-6) return undefined
    const theirs = this.waiting.filter((place) => place.tenant === most)
    const lowest = Math.min(...theirs.map((place) => place.priority))
    return lowest > priority ? undefined : theirs.findLast((place) => place.priority === lowest)
  }

  #charge({ priority, tenant }: Pick<Place, 'priority' | 'tenant'>, line: Line): void {
    const band = this.#band(priority)
    band.served = Math.max(band.served, line.service)
    line.service += this.#worth(tenant)
  }

  #worth(tenant: string | undefined): number {
    return 2 ** ((performance.now() - this.#origin) / HALF_LIFE_MS) / this.#weight(tenant)
  }

  #weight(tenant: string | undefined): number {
    return this.#weights[tenant ?? ''] ?? 1
  }

  #least(priority: number): number {
    const first = this.#prune(priority)
    return first === undefined
      ? this.#band(priority).served
      : Math.min(first.service, first.rank as number)
  }

  /** Who stands first. Those without calls lose their place when they come to the head. */
  #prune(priority: number): Line | undefined {
    const standing = [...this.#band(priority).lines]
      .filter(([, line]) => line.rank !== undefined)
      .toSorted(([, a], [, b]) => (a.rank as number) - (b.rank as number) || a.since - b.since)
    for (const [tenant, line] of standing) {
      if (this.#of(priority, tenant).length > 0) return line
      line.rank = undefined
    }
    return undefined
  }

  #of(priority: number, tenant: string | undefined): Place[] {
    return this.waiting.filter(
      (place) => place.priority === priority && (place.tenant ?? '') === (tenant ?? ''),
    )
  }

  #band(priority: number): Band {
    let band = this.#bands.get(priority)
    if (band === undefined) {
      band = { served: 0, lines: new Map() }
      this.#bands.set(priority, band)
    }
    return band
  }

  #line(priority: number, tenant: string | undefined): Line {
    const { lines } = this.#band(priority)
    let line = lines.get(tenant ?? '')
    if (line === undefined) {
      line = { service: 0, rank: undefined, isNew: false, since: 0 }
      lines.set(tenant ?? '', line)
    }
    return line
  }
}
