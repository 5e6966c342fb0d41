import type { AbortListener, Context } from '../../core/index.js'

/** The batch that a call belongs to. */
interface Batch {
  /** The call is about to get its answer. */
  answering(call: BatchedCall): void
  /** The call has been aborted. */
  left(call: BatchedCall, reason: unknown): void
}

/** Half of the calls of a batch, sent separately. */
interface Half {
  /** A call has been aborted. */
  left(reason: unknown): void
}

interface Settlers {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: unknown) => void
}

/** One call in a batch. It can be aborted on its own, before and after the batch is sent. */
export class BatchedCall implements AbortListener {
  readonly request: unknown
  /** Number of inputs. */
  readonly size: number
  readonly context: Context
  /** The half that it is sent with, if its batch was halved. */
  half: Half | undefined
  readonly #batch: Batch
  readonly #resolve: (answer: unknown) => void
  readonly #reject: (error: unknown) => void
  #isSettled = false

  constructor(batch: Batch, request: unknown, size: number, context: Context, settlers: Settlers) {
    this.#batch = batch
    this.request = request
    this.size = size
    this.context = context
    this.#resolve = settlers.resolve
    this.#reject = settlers.reject
  }

  /** Whether it no longer waits: it has an answer or was aborted. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  resolve(answer: unknown): void {
    if (this.#settle()) this.#resolve(answer)
  }

  reject(error: unknown): void {
    if (this.#settle()) this.#reject(error)
  }

  #settle(): boolean {
    if (this.#isSettled) return false
    this.#isSettled = true
    this.context.cancel.remove(this)
    this.#batch.answering(this)
    return true
  }

  /** The call is aborted. */
  abort(reason: unknown): void {
    this.#isSettled = true
    this.#batch.left(this, reason)
    this.half?.left(reason)
    this.#reject(reason)
  }
}
