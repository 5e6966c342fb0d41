import { randomBytes } from 'node:crypto'
import { ClosedError, digest } from '../../core/index.js'
import type { RouteCall } from '../routes/route.js'
import type { InProgress } from '../server/in-progress.js'
import type { Reply } from '../server/message.js'
import type { EventText } from '../server/written-events.js'
import { CallSignal } from './call-signal.js'
import { stoppedByClient } from './errors.js'
import { formOf } from './event-form.js'
import { FollowedEvents } from './followed-events.js'
import { KeptSource } from './kept-source.js'
import { MemoryLogs } from './memory-logs.js'
import type { CheckedStreamsOptions } from './options.js'
import { Recording } from './recording.js'
import { RememberedKeys } from './remembered-keys.js'
import { BOUNDS, type FinalState, SharedStreams, type SharedWriting } from './shared-streams.js'

/** The remaining events of a stream, or the reason why there are none. */
export type Found = EventText | 'over' | 'gone' | 'unknown' | 'unreachable'

/**
 * The resumable streams of a gateway. Streams of this server are served from memory, those of other
 * servers from the shared state.
 */
export class ResumableStreams {
  readonly #options: CheckedStreamsOptions
  readonly #inProgress: InProgress
  readonly #shared: SharedStreams | undefined
  readonly #memory = new MemoryLogs()
  readonly #remembered = new RememberedKeys()
  readonly #running = new Map<string, Recording>()
  #isClosing = false

  constructor(options: CheckedStreamsOptions, inProgress: InProgress) {
    const { shared, keepMs } = options
    this.#options = options
    this.#inProgress = inProgress
    this.#shared = shared && new SharedStreams(shared, keepMs)
  }

  /**
   * The storage key: a digest that includes the tenant, and from which the id cannot be derived.
   */
  keyOf(id: string, tenant = ''): string {
    return digest(id, tenant)
  }

  /** Handles a request. If the answer is a stream, makes it resumable and adds its id. */
  async begin(
    call: RouteCall['call'],
    handle: (call: RouteCall['call']) => Promise<Reply>,
  ): Promise<Reply> {
    const own = new CallSignal(call.signal)
    try {
      const reply = await handle({ ...call, signal: own.signal })
      return reply.events === undefined
        ? reply
        : await this.#record(reply, reply.events, own, call.tenant)
    } finally {
      own.detach()
    }
  }

  /** The events of a stream from an index on, for one client. */
  async follow(key: string, from: number, { call, delivery }: RouteCall): Promise<Found> {
    if (await this.#wasStopped(key)) return 'gone'
    const here = this.#followHere(key, from, { call, delivery })
    if (here !== undefined) return here
    const there = (await this.#shared?.find(key, from)) ?? 'unknown'
    if (typeof there !== 'string') return new FollowedEvents(there, delivery, call.signal)
    return there === 'unknown' && this.#remembered.has(key) ? 'gone' : there
  }

  /** Stops a stream, on this server or another one, and deletes its events. */
  async stop(key: string): Promise<'stopped' | 'unknown' | 'unreachable'> {
    const running = this.#running.get(key)
    if (running !== undefined) {
      running.stop(stoppedByClient(), 'stopped')
      return 'stopped'
    }
    const wasHere = this.#remembered.has(key)
    this.#memory.delete(key)
    const there = (await this.#shared?.stop(key)) ?? 'unknown'
    if (!wasHere && there !== 'stopped') return there
    this.#remembered.add(key, { wasStopped: true })
    return 'stopped'
  }

  /** Lets running streams finish until `finished`, then aborts the rest and deletes all events. */
  async close(finished: Promise<void>): Promise<void> {
    this.#isClosing = true
    for (const recording of [...this.#running.values()]) recording.attend()
    await finished
    for (const recording of [...this.#running.values()])
      recording.cut(new ClosedError('The server has shut down.', { refused: false }))
    this.#memory.close()
    this.#remembered.clear()
  }

  async #record(
    reply: Reply,
    body: EventText,
    call: CallSignal,
    tenant: string | undefined,
  ): Promise<Reply> {
    const id = randomBytes(16).toString('hex')
    const key = this.keyOf(id, tenant)
    const shared = await this.#shared?.begin(key, formOf(body))
    if (call.signal.aborted) {
      // The client never received the id.
      shared?.abandon()
      return reply
    }
    const recording = this.#start(key, body, call, shared)
    const events = new FollowedEvents(recording.follow(0), body.delivery)
    return { ...reply, headers: { ...reply.headers, 'x-stream-id': id }, events }
  }

  #start(
    key: string,
    body: EventText,
    call: CallSignal,
    shared: SharedWriting | undefined,
  ): Recording {
    const { keepMs, graceMs } = this.#options
    const recording = new Recording({
      body,
      call,
      shared,
      log: this.#memory.begin(key, { ...BOUNDS, keepMs }),
      // Without other servers, no client can come back after this one has closed.
      graceMs: () => (this.#isClosing && this.#shared === undefined ? 0 : graceMs),
      ended: (state) => {
        entry.end()
        this.#ended(key, state)
      },
    })
    const entry = this.#inProgress.begin(recording)
    this.#running.set(key, recording)
    return recording
  }

  #ended(key: string, state: FinalState): void {
    this.#running.delete(key)
    this.#remembered.add(key, { wasStopped: state === 'stopped' })
    if (state === 'stopped') this.#memory.delete(key)
  }

  #followHere(
    key: string,
    from: number,
    { call, delivery }: Pick<RouteCall, 'call' | 'delivery'>,
  ): Found | undefined {
    const log = this.#memory.find(key)
    if (log === undefined) return undefined
    if (from < log.first) return 'gone'
    const running = this.#running.get(key)
    if (running !== undefined) return new FollowedEvents(running.follow(from), delivery)
    if (from >= log.next) return 'over'
    return new FollowedEvents(new KeptSource(log.follow(from)), delivery, call.signal)
  }

  /** Whether a client stopped the stream; one that ended here may be stopped on another server. */
  async #wasStopped(key: string): Promise<boolean> {
    if (this.#remembered.wasStopped(key)) return true
    const isKept = !this.#running.has(key) && this.#memory.find(key) !== undefined
    return isKept && (await this.#shared?.wasStopped(key)) === true
  }
}
