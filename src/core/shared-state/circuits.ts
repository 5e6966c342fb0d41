/**
 * The state of a breaker's circuits that several processes share. Each process decides for itself.
 */
export interface SharedCircuits {
  /** Joins the circuit of a key. Calls `watcher` with the known state before it returns. */
  join(key: string, watcher: CircuitWatcher): SharedCircuit
}

/** How a circuit was opened. */
export interface CircuitOpening {
  /** How often it has opened in a row. */
  readonly openings: number
  /** Milliseconds until trials start. */
  readonly resetsInMs: number
}

/** Receives the changes that other processes make to a circuit. */
export interface CircuitWatcher {
  opened(opening: CircuitOpening): void
  /** A trial closed the circuit. */
  closed(): void
  /** The trial of another process ended without a verdict. */
  released(): void
}

/** This process's access to a circuit. Messages to other processes are sent in the background. */
export interface SharedCircuit {
  opened(opening: CircuitOpening): void
  /** A trial of this process closed the circuit. */
  closed(): void
  /**
   * Claims the trial for `ms` milliseconds. One process has it at a time. Resolves with 0 when this
   * process has it, otherwise with the milliseconds to wait before asking again, or null when the
   * shared state could not be reached.
   */
  claim(ms: number): Promise<number | null>
  /** Releases the trial for another process. */
  release(): void
  /** Stops watching the circuit. */
  leave(): void
}
