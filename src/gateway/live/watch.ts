import type { Blossom } from '../../client/client.js'
import { ClosedError, LAYERS, LISTEN, now, runHook, Timer, wallTime } from '../../core/index.js'
import type { LimitLevel } from '../../layers/rate-limit/index.js'
import { frame } from '../../streams/event-frame.js'
import { internalsOf } from '../../telemetry/observed.js'
import type { RouteTools } from '../routes/route.js'
import type { Finished } from '../server/finished.js'
import { readNotes } from '../server/request-log.js'
import type { EventDelivery } from '../server/written-events.js'
import { type Failure, Failures } from './failures.js'
import { Feed } from './feed.js'
import { readStack, type StackNow } from './snapshot.js'
import { Traffic, type TrafficNow } from './traffic.js'

/** Interval of the snapshots. Milliseconds. */
const SECOND_MS = 1_000
/** How long watching continues without a page, so that a reload loses nothing. Milliseconds. */
const LINGER_MS = 60_000
/** Maximum number of tenants whose limits are shown. */
const LIMITS_SHOWN = 8
const LONGEST_TENANT = 40

/** How much of a tenant's limit is used, as of its last request. */
interface LimitNow extends Pick<LimitLevel, 'unit' | 'remaining'> {
  readonly tenant: string | undefined
  /** The part in use, which is refilled over time. */
  readonly used: number
}

/** The data that the page shows, sent every second. */
export interface Snapshot extends StackNow {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** When counting began, in milliseconds since the epoch. */
  readonly since: number
  readonly uptimeMs: number
  readonly isDraining: boolean
  readonly traffic: TrafficNow
  /** For each of the last 120 seconds the calls that were complete, failed and aborted. */
  readonly course: Traffic['course']
  readonly limits: readonly LimitNow[]
  readonly failures: readonly Failure[]
}

/** The part of the gateway that is watched. */
export type WatchedGateway = Pick<RouteTools, 'view' | 'watcher' | 'isDraining'> & {
  readonly blossom: Blossom<readonly unknown[]>
}

/** Watches a client and its gateway while at least one page is open. Costs nothing otherwise. */
export class Watch {
  readonly #core: WatchedGateway
  readonly #feeds = new Set<Feed>()
  #running: Running | undefined
  #linger: Timer | undefined
  #isClosed = false

  constructor(core: WatchedGateway) {
    this.#core = core
  }

  /** The snapshot that a page shows before its feed begins. */
  first(): string {
    const snapshot = this.#run().snapshot()
    if (this.#feeds.size === 0) this.#lingerOn()
    return snapshot
  }

  /** Opens the feed of a page. */
  open(delivery: EventDelivery): Feed {
    const running = this.#run()
    const feed = new Feed(delivery, (left) => this.#left(left))
    this.#feeds.add(feed)
    feed.show(frame({ data: running.snapshot() }))
    return feed
  }

  /** Ends all feeds and rejects new ones, so that a reconnecting page cannot delay the close. */
  close(): void {
    this.#isClosed = true
    this.#linger?.stop()
    this.#stop()
    for (const feed of [...this.#feeds]) feed.close()
  }

  #left(feed: Feed): void {
    this.#feeds.delete(feed)
    if (this.#feeds.size === 0 && this.#running !== undefined) this.#lingerOn()
  }

  #run(): Running {
    if (this.#isClosed) throw new ClosedError('The server is shutting down.')
    this.#linger?.stop()
    this.#running ??= new Running(this.#core, (snapshot) => {
      const text = frame({ data: snapshot })
      for (const feed of this.#feeds) feed.show(text)
    })
    return this.#running
  }

  #lingerOn(): void {
    this.#linger?.stop()
    this.#linger = new Timer(LINGER_MS, () => this.#stop()).unref()
  }

  #stop(): void {
    this.#running?.stop()
    this.#running = undefined
  }
}

/** One period of watching, from the first page to the last. */
class Running {
  readonly #core: WatchedGateway
  readonly #onSnapshot: (snapshot: string) => void
  readonly #failures = new Failures()
  readonly #traffic = new Traffic(this.#failures.call)
  readonly #limits = new Map<string | undefined, readonly LimitLevel[]>()
  readonly #since = wallTime()
  readonly #unlisten: () => void
  #now: TrafficNow = this.#traffic.tick()
  #timer: Timer | undefined

  constructor(core: WatchedGateway, onSnapshot: (snapshot: string) => void) {
    this.#core = core
    this.#onSnapshot = onSnapshot
    this.#unlisten = internalsOf('createGateway', core.blossom)[LISTEN](this.#traffic.onEvent)
    core.watcher = (finished) => runHook('The live page', () => this.#ended(finished))
    this.#wait()
  }

  stop(): void {
    this.#timer?.stop()
    this.#unlisten()
    this.#core.watcher = undefined
  }

  /** The newest snapshot, as JSON. */
  snapshot(): string {
    return JSON.stringify(this.#snapshot())
  }

  #wait(): void {
    this.#timer = new Timer(SECOND_MS, () => {
      this.#now = this.#traffic.tick()
      this.#failures.tick()
      this.#onSnapshot(this.snapshot())
      this.#wait()
    }).unref()
  }

  #ended(finished: Finished): void {
    this.#failures.request(finished)
    const { caller, meta } = finished
    if (meta === undefined) return
    const { limits } = readNotes(meta, (kind) => this.#core.view.namesOf(kind))
    if (limits.length === 0) return
    const tenant = caller.tenant?.slice(0, LONGEST_TENANT)
    this.#limits.delete(tenant)
    this.#limits.set(tenant, limits)
    const [oldest] = this.#limits.keys()
    if (this.#limits.size > LIMITS_SHOWN) this.#limits.delete(oldest)
  }

  #snapshot(): Snapshot {
    const { blossom } = this.#core
    return {
      at: wallTime(),
      since: this.#since,
      uptimeMs: Math.round(now()),
      isDraining: this.#core.isDraining(),
      traffic: this.#now,
      course: this.#traffic.course,
      ...readStack(internalsOf('createGateway', blossom)[LAYERS](), blossom.describe()),
      limits: [...this.#limits].flatMap(([tenant, levels]) =>
        levels.map(({ unit, limit, intervalMs, remaining, resetMs }) => ({
          tenant,
          unit,
          used: Math.round((limit * resetMs) / intervalMs),
          remaining,
        })),
      ),
      failures: this.#failures.last,
    }
  }
}
