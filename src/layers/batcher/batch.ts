import { AsyncResource } from 'node:async_hooks'
import {
  type AbortListener,
  type Context,
  deadlines,
  type Expiring,
  type Handler,
  NOT_WAITING,
  now,
  type SharedWork,
  type TransientMap,
} from '../../core/index.js'
import { BatchedCall } from './batched-call.js'
import { UpstreamCalls } from './upstream-calls.js'

export interface BatchOptions {
  name: string
  maxItems: number
  maxDelayMs: number
  next: Handler
  /** Counters of the layer, shared by all stacks that use it. */
  stats: { batches: number; items: number }
}

/**
 * Calls that are sent as one: when the batch is full, after `maxDelayMs`, or when the stack closes.
 */
export class Batch implements Expiring, AbortListener {
  deadlineSlot = NOT_WAITING
  readonly #options: BatchOptions
  /** The map that holds this batch, under its group, until it is sent. */
  readonly #filling: TransientMap<Batch>
  readonly #group: string
  readonly #work: SharedWork
  readonly #calls: BatchedCall[] = []
  /** Number of inputs of the calls still in the batch. */
  #size = 0
  /** Number of calls that wait for their answer. */
  #waiting = 0
  #isSent = false
  /**
   * A neutral async context, so that the base does not run in that of the timer or of the last
   * call.
   */
  readonly #asyncContext = new AsyncResource('blossom-stack.batch')

  constructor(
    options: BatchOptions,
    filling: TransientMap<Batch>,
    group: string,
    work: SharedWork,
  ) {
    this.#options = options
    this.#filling = filling
    this.#group = group
    this.#work = work
    filling.set(group, this)
    // If every caller leaves before the batch is sent, no new call may join it.
    work.context.cancel.add(this)
    deadlines.set(this, now() + options.maxDelayMs)
  }

  hasRoomFor(size: number): boolean {
    return this.#size + size <= this.#options.maxItems
  }

  /** Adds a call. Settles with its part of the answer, or rejects when the call is aborted. */
  join(request: unknown, size: number, context: Context): Promise<unknown> {
    const { name, maxItems } = this.#options
    const isFirst = this.#calls.length === 0
    if (!isFirst) context.trace?.joined(name, this.#work.context.trace)
    const answer = new Promise((resolve, reject) => {
      const call = new BatchedCall(this, request, size, context, { resolve, reject })
      this.#work.join(call)
      this.#calls.push(call)
      this.#size += size
      this.#waiting++
      context.cancel.add(call)
    })
    if (this.#size >= maxItems) this.send()
    // Add it only now: if the stack is already closing, this sends the batch immediately.
    else if (isFirst && !this.#isSent) context.closing.add(this)
    return answer
  }

  /** Sends the calls still in the batch. */
  send(): void {
    if (this.#isSent) return
    this.#isSent = true
    this.#filling.delete(this.#group, this)
    deadlines.clear(this)
    this.#work.context.closing.remove(this)
    void this.#asyncContext.runInAsyncScope(this.#run, this)
  }

  async #run(): Promise<void> {
    const { next, stats } = this.#options
    const upstream = new UpstreamCalls(next, this.#work.context, stats)
    try {
      await upstream.answer(this.#calls)
    } finally {
      this.#work.end()
    }
  }

  /** The first call has waited long enough for others. */
  expire(): void {
    this.send()
  }

  /** The stack starts to close, or every caller has left. */
  abort(): void {
    this.send()
  }

  /** A call is about to get its answer. @internal */
  answering(call: BatchedCall): void {
    this.#work.tell(call.context)
    // A call that has its answer must no longer keep the work of the others going, nor extend its
    // deadline. The last one stays, because leaving would abort the work.
    if (--this.#waiting > 0) this.#work.leave(call)
  }

  /** @internal */
  left(call: BatchedCall, reason: unknown): void {
    this.#size -= call.size
    this.#waiting--
    this.#work.leave(call, reason)
  }
}
