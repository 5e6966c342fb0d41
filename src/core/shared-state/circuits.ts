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
