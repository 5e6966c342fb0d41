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
