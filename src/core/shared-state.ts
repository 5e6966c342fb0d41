const SHARED_STATE: unique symbol = Symbol.for('blossom-stack.shared-state') as never

/**
 * What the processes of a service know together. `redisShared()` makes one, and layers take it as
 * their option `shared`. Nothing here rejects or throws, and nothing takes longer than its own time
 * limit: whoever gets `null`, as the others could not be asked in time, goes on as if it were the
 * only process.
 */
export interface SharedState {
  /** The entries of a cache. Caches of one name share them. */
  entries(name: string): SharedEntries
  /** The levels of the limits of all keys. Limits of one name share them. */
  limits(name: string): SharedLimits
  /** The circuits of a breaker. Breakers of one name share them. */
  circuits(name: string): SharedCircuits
  /** The slots of a queue. Queues of one name share them. */
  slots(name: string): SharedSlots
}

/** The entries of a cache that several processes have together. */
export interface SharedEntries {
  /** What was set; undefined when there is nothing, null when that is not known. */
  get(key: string): Promise<string | undefined | null>
  /** Nobody waits for it. `ttlMs` is at least 1. */
  set(key: string, text: string, ttlMs: number): void
  /** Forgets one entry, in all processes. Resolves with whether it was there. */
  delete(key: string): Promise<boolean>
  /** Forgets all entries, in all processes. */
  clear(): Promise<void>
  /** Tells what other processes do with the entries. */
  watch(watcher: EntriesWatcher): void
}

/** Hears what other processes do with the entries of a cache. */
export interface EntriesWatcher {
  /** Another process has forgotten one. */
  deleted(key: string): void
  /** Another process has forgotten all. */
  cleared(): void
  /** Messages of the others may have been missed. */
  missed(): void
}

/** What a call wants of one limit of a key. */
export interface LimitOrder {
  /** Tells the limits of a key apart. */
  readonly unit: string
  /** What the call takes. */
  readonly need: number
  /** It is given up to so much when that is there: at least `need`. */
  readonly want: number
  /** A bucket that holds so much and fills so fast, or a window with its end and what it allows. */
  readonly of: BucketTerms | WindowTerms
}

/** A bucket that fills evenly. */
export interface BucketTerms {
  /** How much it holds. */
  readonly capacity: number
  /** How much comes in a millisecond. */
  readonly perMs: number
  /** No correction takes it further below 0. */
  readonly debt: number
}

/** A calendar window, or one of a fixed length. */
export interface WindowTerms {
  /** Its start, in milliseconds since the epoch. */
  readonly start: number
  /** Milliseconds since the epoch. */
  readonly end: number
  /** How much may be spent in it. */
  readonly limit: number
}

/** What has become of one order. */
export interface LimitReply {
  /** Of what was granted; 0 when the call is refused. */
  readonly given: number
  /** How long it would have to wait for this limit alone; `Infinity`: for ever. Milliseconds. */
  readonly waitMs: number
  /** What is left in the bucket, or has been spent in the window. */
  readonly level: number
}

/** What a call has taken beside what it was given: more when above 0, less below it. */
export interface LimitCorrection {
  readonly unit: string
  readonly amount: number
  readonly of: BucketTerms | WindowTerms
}

/** The levels of limits that several processes have together. */
export interface SharedLimits {
  /** How many processes there are, or were when last heard of. */
  readonly processes: number
  /**
   * Takes from all of the limits, or nothing from any of them. A reply for each order; null when
   * nobody could be asked.
   */
  take(key: string, orders: readonly LimitOrder[]): Promise<readonly LimitReply[] | null>
  /**
   * Corrects what was taken, once, unless nobody can be reached for a minute. Resolves with what
   * has been spent in a window, once a window, when four fifths of it are.
   */
  correct(key: string, corrections: readonly LimitCorrection[]): Promise<number | undefined>
}

/** What several processes tell each other of the circuits of a breaker. Each decides by itself. */
export interface SharedCircuits {
  /** Takes part in the circuit of a key. What is known of it already is told before this returns. */
  join(key: string, watcher: CircuitWatcher): SharedCircuit
}

/** How a circuit was opened. */
export interface CircuitOpening {
  /** Openings in a row. */
  readonly openings: number
  /** Milliseconds until the trials. */
  readonly resetsInMs: number
}

/** Hears what other processes do with a circuit. */
export interface CircuitWatcher {
  opened(opening: CircuitOpening): void
  /** A trial has closed it. */
  closed(): void
  /** The trial that another process had is over without a verdict. */
  released(): void
}

/** The part of one process in a circuit. Nobody waits for what it tells the others. */
export interface SharedCircuit {
  opened(opening: CircuitOpening): void
  /** A trial of this process has closed it. */
  closed(): void
  /**
   * Asks for the trial, which one process has at a time, for `ms`. Resolves with 0 when this one has
   * it, else with the milliseconds after which asking again is worth it; null when nobody could be
   * asked.
   */
  claim(ms: number): Promise<number | null>
  /** Gives the trial back, for another process to have. */
  release(): void
  /** Hears no more of it. */
  leave(): void
}

/** A slot, from when it is asked for until it is given back. */
export interface SharedSlot {
  /** When whoever has it should be done: a moment of `now()`. It may move. */
  readonly deadline: number
}

/** The slots that the queues of several processes have together. */
export interface SharedSlots {
  /** How many processes there are, or were when last heard of. */
  readonly processes: number
  /**
   * Takes a slot unless `limit` are taken, or free for processes that have waited for longer.
   * `waiting`: calls of this process that wait for it; 0: it waits for none, and is not kept one.
   * Resolves with false when it has none. Null when nobody could be asked: it may be taken all the
   * same, and must be given back like one that is.
   */
  take(slot: SharedSlot, limit: number, waiting: number): Promise<boolean | null>
  /** Gives it back, once. Nobody waits for it. */
  giveBack(slot: SharedSlot): void
  /** No call of this process waits any more. */
  leave(): void
  /** `freed` is called when a slot may be free for this process, which waits. */
  watch(freed: () => void): void
}

/** Marks an object as shared state, for layers of any copy of the library. */
export const sharedState = <T extends SharedState>(methods: T): T =>
  Object.assign(methods, { [SHARED_STATE]: true })

/** Whether a value is shared state, made by this copy of the library or another. */
export function isSharedState(value: unknown): value is SharedState {
  return typeof value === 'object' && value !== null && SHARED_STATE in value
}
