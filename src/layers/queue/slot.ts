import type { Context, SharedSlot } from '../../core/index.js'

/** A slot of all processes together, and the call that has it. */
export class Slot implements SharedSlot {
  /** Of that call. */
  context: Context | undefined
  /** The others could not be asked: this process has decided alone. */
  isAlone = false

  constructor(context?: Context) {
    this.context = context
  }

  get deadline(): number {
    return this.context?.deadline ?? 0
  }
}
