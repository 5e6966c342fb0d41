import type { Context, SharedSlot } from '../../core/index.js'

/** A slot shared by all processes, and the call that has it. */
export class Slot implements SharedSlot {
  /** Context of that call. */
  context: Context | undefined
  /** Whether this process decided alone because the shared state was unreachable. */
  isAlone = false

  constructor(context?: Context) {
    this.context = context
  }

  get deadline(): number {
    return this.context?.deadline ?? 0
  }
}
