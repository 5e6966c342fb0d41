/** A slot, from the request for it until its release. */
export interface SharedSlot {
  /** When its holder should be done, as a time of `now()`. May move. */
  readonly deadline: number
}

/** The slots that the queues of several processes share. */
export interface SharedSlots {
  /** How many processes there are, or were when last known. */
  readonly processes: number
  /**
   * Takes a slot unless `limit` are taken or reserved for processes that have waited longer.
   * `waiting` is how many calls of this process wait; with 0, no slot is reserved for it. Resolves
   * with false when no slot is free. Resolves with null when the shared state could not be reached:
   * the caller may proceed and must still call `giveBack()`.
   */
  take(slot: SharedSlot, limit: number, waiting: number): Promise<boolean | null>
  /** Releases the slot, once, in the background. */
  giveBack(slot: SharedSlot): void
  /** Gives up this process's place in line, because none of its calls waits. */
  leave(): void
  /** Calls `freed` when a slot may be free for this process while it waits. */
  watch(freed: () => void): void
}
