import type { AbortListener, Context } from '../../core/index.js'

/** The batch that a call is in. */
interface Batch {
  /** The call is about to get its answer. */
  answering(call: BatchedCall): void
  /** The call's caller has gone. */
  left(call: BatchedCall, reason: unknown): void
}

/** Calls of a batch that was halved. */
interface Half {
  /** The caller of one has gone. */
  left(reason: unknown): void
}

interface Ways {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: unknown) => void
}

/** One call in a batch. It can leave by itself, before and after the batch was sent. */
export class BatchedCall implements AbortListener {
  readonly request: unknown
  /** Inputs that it holds. */
  readonly size: number
  readonly context: Context
  /** The half that it is sent with, once its batch has been halved. */
  half: Half | undefined
  readonly #batch: Batch
  readonly #resolve: (answer: unknown) => void
  readonly #reject: (error: unknown) => void
  #isSettled = false

  constructor(batch: Batch, request: unknown, size: number, context: Context, ways: Ways) {
    this.#batch = batch
    this.request = request
    this.size = size
    this.context = context
    this.#resolve = ways.resolve
    this.#reject = ways.reject
  }

  /** Whether it waits for no answer: it has one, or its caller has gone. */
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

  /** Its caller has gone. */
  abort(reason: unknown): void {
    this.#isSettled = true
    this.#batch.left(this, reason)
    this.half?.left(reason)
    this.#reject(reason)
  }
}
