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
  /** Counters of the layer, which may have several stacks. */
  stats: { batches: number; items: number }
}

/** Calls that are sent as one: when it is full, after `maxDelayMs`, or when the stack closes. */
export class Batch implements Expiring, AbortListener {
  deadlineSlot = NOT_WAITING
  readonly #options: BatchOptions
  /** Where it stands under its group, until it is sent. */
  readonly #filling: TransientMap<Batch>
  readonly #group: string
  readonly #work: SharedWork
  readonly #calls: BatchedCall[] = []
  /** Inputs of the calls that have not left. */
  #size = 0
  /** Calls that wait for their answer. */
  #waiting = 0
  #isSent = false
  /** Its timer, or the call that fills it, must not lend the base an async context. */
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
    // What everybody has left before it was sent must take in nobody else.
    work.context.cancel.add(this)
    deadlines.set(this, now() + options.maxDelayMs)
  }

  hasRoomFor(size: number): boolean {
    return this.#size + size <= this.#options.maxItems
  }

  /** Takes a call in. Settles with its part of the answer, or with its abort. */
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
    // Only now: it may be closing already, which sends the batch at once.
    else if (isFirst && !this.#isSent) context.closing.add(this)
    return answer
  }

  /** Sends those who are still there. */
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

  /** The first call has waited for others long enough. */
  expire(): void {
    this.send()
  }

  /** The stack begins to close, or every caller has left. */
  abort(): void {
    this.send()
  }

  /** @internal The call is about to get its answer. */
  answering(call: BatchedCall): void {
    this.#work.tell(call.context)
    // Whoever has an answer keeps the others' work neither going nor within that call's deadline;
    // the last to get one aborts nothing.
    if (--this.#waiting > 0) this.#work.leave(call)
  }

  /** @internal */
  left(call: BatchedCall, reason: unknown): void {
    this.#size -= call.size
    this.#waiting--
    this.#work.leave(call, reason)
  }
}
