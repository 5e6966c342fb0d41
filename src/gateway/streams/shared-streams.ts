import {
  inTime,
  isRecord,
  type LogClaim,
  type LogOptions,
  type LogWatcher,
  type LogWriter,
  parseJson,
  type SharedLogs,
  type SharedState,
} from '../../core/index.js'
import { DistantSource, LOOK_MS } from './distant-source.js'
import { ownerLost } from './errors.js'
import { type FailureForm, numbered, plainForm } from './event-form.js'
import type { EventSource } from './followed-events.js'
import { REMEMBERED_MS } from './remembered-keys.js'

/** The final state of a stream on the server that ran it. */
export type FinalState = 'ended' | 'stopped'

/** The record of a stream, stored in addition to its events. */
interface StreamRecord {
  readonly state: 'open' | FinalState | 'lost'
  /** The event that reports the loss of its server, in the format of its other events. */
  readonly lost: string
  /** Number of events, once the stream has ended. */
  readonly next?: number | undefined
}

/** The events of a stream on another server, or the reason why there are none. */
export type Elsewhere = EventSource | 'over' | 'gone' | 'unknown' | 'unreachable'

/** Maximum size of a stream's stored events; older ones are deleted. */
export const BOUNDS = { maxEntries: 65_536, maxLength: 1024 * 1024, whenFull: 'trim' } as const

const RECORD: LogOptions = {
  keepMs: REMEMBERED_MS,
  maxEntries: 16,
  maxLength: 64 * 1024,
  whenFull: 'trim',
}

const writerOf = (claim: LogClaim | null): LogWriter | undefined =>
  claim === null || claim === 'full' ? undefined : claim.writer

/**
 * The streams in the shared state of several servers. Each has one log for its events and one for
 * its record, which is stored for longer. Keys contain neither the id nor the tenant.
 */
export class SharedStreams {
  readonly #events: SharedLogs
  readonly #records: SharedLogs
  readonly #keepMs: number

  constructor(shared: SharedState, keepMs: number) {
    this.#events = shared.logs('streams')
    this.#records = shared.logs('stream-records')
    this.#keepMs = keepMs
  }

  /**
   * Begins a stream that other servers can read; `undefined` if the shared state is unreachable.
   */
  async begin(key: string, form: FailureForm): Promise<SharedWriting | undefined> {
    const [events, record] = (
      await Promise.all([
        this.#events.claim(key, { ...BOUNDS, keepMs: this.#keepMs }),
        this.#records.claim(key, RECORD),
      ])
    ).map(writerOf)
    if (events !== undefined && record !== undefined)
      return new SharedWriting(events, record, form(ownerLost()))
    events?.abandon()
    record?.abandon()
    return undefined
  }

  /** The events from an index on of a stream of another server. */
  async find(key: string, from: number): Promise<Elsewhere> {
    const record = await this.#recordOf(key)
    if (record === null) return 'unreachable'
    if (record?.state === 'stopped') return 'gone'
    if (record?.next !== undefined && from >= record.next) return 'over'
    const reader = await this.#events.follow(key, from)
    if (reader === null) return 'unreachable'
    if (reader === undefined) return record === undefined ? 'unknown' : 'gone'
    const again = (position: number) => this.#events.follow(key, position)
    const source = new DistantSource(reader, from, again, (position) => this.#lost(key, position))
    return source.look()
  }

  /** Stops a stream on the server that runs it, and records this for all servers. */
  async stop(key: string): Promise<'stopped' | 'unknown' | 'unreachable'> {
    const record = await this.#recordOf(key)
    const wasThere = record === null ? null : await this.#events.stop(key)
    if (record === null || wasThere === null) return 'unreachable'
    if (record === undefined && !wasThere) return 'unknown'
    // While the stream runs, its server holds the record, so this fails; that server then writes
    // it.
    await this.#remember(key, { state: 'stopped', lost: record?.lost ?? '' })
    return 'stopped'
  }

  /** Whether a client has stopped the stream on any server. */
  async wasStopped(key: string): Promise<boolean> {
    return (await this.#recordOf(key))?.state === 'stopped'
  }

  /** The event that reports the loss of a stream's server, the same for all clients. */
  async #lost(key: string, position: number): Promise<string> {
    const record = await this.#recordOf(key)
    const before = record?.state === 'lost' ? (record.next ?? 1) - 1 : 0
    const index = Math.max(position, before)
    const lost = record?.lost || plainForm(ownerLost())
    await this.#remember(key, { state: 'lost', lost, next: index + 1 })
    return numbered(lost, index)
  }

  async #remember(key: string, record: StreamRecord): Promise<void> {
    const claim = await this.#records.claim(key, RECORD)
    if (claim !== null && claim !== 'full') claim.reader?.leave()
    writerOf(claim)?.end(JSON.stringify(record))
  }

  /** The record; `undefined` if there is no such stream, `null` if the state is unreachable. */
  async #recordOf(key: string): Promise<StreamRecord | undefined | null> {
    const reader = await this.#records.follow(key, 0)
    if (reader === undefined || reader === null) return reader
    const part = await inTime(
      () => reader.read(),
      LOOK_MS,
      () => undefined,
    )
    reader.leave()
    return readRecord(part?.entries.at(-1))
  }
}

/** Parses a record. Invalid text gives an open record. */
function readRecord(text: string | undefined): StreamRecord {
  let read: unknown
  try {
    read = text === undefined ? undefined : parseJson(text)
  } catch {
    // Not written by this library.
  }
  const { state = 'open', lost, next } = (isRecord(read) ? read : {}) as Partial<StreamRecord>
  return {
    state,
    lost: typeof lost === 'string' ? lost : '',
    next: Number.isSafeInteger(next) ? next : undefined,
  }
}

/** Writes a stream for other servers, without waiting. */
export class SharedWriting {
  readonly #events: LogWriter
  readonly #record: LogWriter
  readonly #lost: string
  #next = 0

  constructor(events: LogWriter, record: LogWriter, lost: string) {
    this.#events = events
    this.#record = record
    this.#lost = lost
    record.append(JSON.stringify({ state: 'open', lost } satisfies StreamRecord))
  }

  watch(watcher: LogWatcher): void {
    this.#events.watch(watcher)
  }

  append(text: string): void {
    this.#next++
    this.#events.append(text)
  }

  end(text: string, state: FinalState): void {
    const next = ++this.#next
    this.#events.end(text)
    this.#record.end(JSON.stringify({ state, lost: this.#lost, next } satisfies StreamRecord))
  }

  abandon(): void {
    this.#events.abandon()
    this.#record.abandon()
  }
}
