import { hookFailed } from '../warn.js'

/**
 * What is told of a cancellation. A `Cancel` is one itself: that is how a child follows its parent.
 */
export interface AbortListener {
  abort(reason: unknown): void
}

/**
 * A light cancellation: what an `AbortController` does, at a fraction of its cost, for use inside a
 * stack. It turns into a real `AbortSignal` only when somebody reads `signal`.
 */
export class Cancel implements AbortListener {
  aborted = false
  reason: unknown = undefined
  // Nearly every cancellation has one or two listeners, so they need no collection.
  #first: AbortListener | undefined = undefined
  #second: AbortListener | undefined = undefined
  #more: Set<AbortListener> | undefined = undefined
  #controller: AbortController | undefined = undefined

  /**
   * Aborts once; later calls change nothing. Listeners are told at once, in the order in which they
   * came.
   */
  abort(reason: unknown): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    const first = this.#first
    this.#first = undefined
    this.#controller?.abort(reason)
    if (first) tell(first, reason)
    // Read while it is told: who is removed by an earlier listener hears nothing.
    const second = this.#second
    this.#second = undefined
    if (second) tell(second, reason)
    if (this.#more) for (const listener of this.#more) tell(listener, reason)
    this.#more = undefined
  }

  /** Adds a listener; it is told at once if the abort has already happened. */
  add(listener: AbortListener): void {
    if (this.aborted) listener.abort(this.reason)
    else if (this.#more !== undefined) this.#more.add(listener)
    else if (this.#first === undefined) this.#first = listener
    else if (this.#second === undefined) this.#second = listener
    else this.#more = new Set([listener])
  }

  /** Takes a listener away again. */
  remove(listener: AbortListener): void {
    if (this.#first === listener) {
      this.#first = this.#second
      this.#second = undefined
    } else if (this.#second === listener) this.#second = undefined
    else if (this.#more?.delete(listener) && this.#more.size === 0) this.#more = undefined
  }

  /** Whether anybody listens. */
  get watched(): boolean {
    return this.#first !== undefined || this.#second !== undefined || this.#more !== undefined
  }

  /**
   * Calls `listener` with the reason when the abort comes. Returns what takes the listener away
   * again.
   */
  onAbort(listener: (reason: unknown) => void): () => void {
    const entry: AbortListener = { abort: listener }
    this.add(entry)
    return () => this.remove(entry)
  }

  /** Throws the reason once it is aborted. */
  throwIfAborted(): void {
    if (this.aborted) throw this.reason
  }

  /** The same cancellation as a standard signal, made at the first reading. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.aborted && !this.#controller.signal.aborted) this.#controller.abort(this.reason)
    return this.#controller.signal
  }
}

/** One listener's failure must not keep the abort from the others. */
function tell(listener: AbortListener, reason: unknown): void {
  try {
    listener.abort(reason)
  } catch (error) {
    hookFailed('An abort listener', error)
  }
}

/**
 * A caller's signal as a cancellation: one listener on the signal however many calls share it, none
 * while no call is under way.
 */
class SignalCancel extends Cancel {
  readonly #source: AbortSignal

  constructor(source: AbortSignal) {
    super()
    this.#source = source
    if (source.aborted) super.abort(source.reason)
  }

  handleEvent(): void {
    this.abort(this.#source.reason)
  }

  override get signal(): AbortSignal {
    return this.#source
  }

  override add(listener: AbortListener): void {
    // An abort whose event has not reached us yet (we may be called from another of its listeners)
    // counts already.
    if (this.#source.aborted && !this.aborted) this.abort(this.#source.reason)
    if (!this.aborted && !this.watched) this.#source.addEventListener('abort', this, { once: true })
    super.add(listener)
  }

  override remove(listener: AbortListener): void {
    super.remove(listener)
    if (!this.watched) this.#source.removeEventListener('abort', this)
  }
}

const CANCEL = Symbol('blossom-stack.cancel')

/** The cancellation that follows `signal`; the same one for the same signal. */
export function cancelOf(signal: AbortSignal & { [CANCEL]?: SignalCancel }): Cancel {
  let cancel = signal[CANCEL]
  if (cancel === undefined) {
    cancel = new SignalCancel(signal)
    // On the signal itself: in a WeakMap the signals of calls long answered stay until the next
    // full garbage collection.
    if (Object.isExtensible(signal)) signal[CANCEL] = cancel
  } else if (signal.aborted) {
    // Between calls it does not listen.
    cancel.abort(signal.reason)
  }
  return cancel
}

/**
 * A cancellation of one's own below the context's: it is aborted with its parent, or alone.
 * `dispose()` takes it off the parent again; call it when the work has ended.
 */
export class Scope extends Cancel {
  readonly #parent: Cancel

  constructor(parent: Cancel) {
    super()
    this.#parent = parent
    parent.add(this)
  }

  /** Takes it off its parent. */
  dispose(): void {
    this.#parent.remove(this)
  }

  /**
   * Settles as `work` does, or rejects with the reason as soon as the scope is aborted, whether or
   * not the work heeds it.
   */
  race<T>(work: T | Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const listener: AbortListener = { abort: reject }
      this.add(listener)
      // A plain layer may answer without a promise.
      Promise.resolve(work).then(
        (value) => {
          this.remove(listener)
          resolve(value)
        },
        (error) => {
          this.remove(listener)
          reject(error)
        },
      )
    })
  }
}

/**
 * Opens a scope below `context`: derive a context with `{ cancel: scope }` for the work that it may
 * cut short.
 */
export function abortScope(context: { readonly cancel: Cancel }): Scope {
  return new Scope(context.cancel)
}

/** Node runs a longer timer at once, with a warning. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * A timer that is this late was held up by a blocked event loop: what has arrived meanwhile is
 * looked at first, as it may be what the timer is there to miss. Milliseconds.
 */
const LATE_MS = 20

/** A one-shot timer without `setTimeout`'s limit of 24.8 days. */
export class Timer {
  #handle: NodeJS.Timeout | undefined
  #late: NodeJS.Immediate | undefined
  #unref = false
  readonly #run: () => void
  readonly #due: number

  constructor(ms: number, run: () => void) {
    this.#run = run
    this.#due = performance.now() + ms
    this.#handle = this.#start(ms)
  }

  #start(ms: number): NodeJS.Timeout {
    if (ms > LONGEST_TIMER_MS) {
      return setTimeout(() => {
        this.#handle = this.#start(ms - LONGEST_TIMER_MS)
        if (this.#unref) this.#handle.unref()
      }, LONGEST_TIMER_MS)
    }
    return setTimeout(() => this.#fire(), Math.max(0, ms))
  }

  #fire(): void {
    // Immediates run behind the sockets, timers before them.
    if (performance.now() - this.#due > LATE_MS) this.#late = setImmediate(this.#run)
    else this.#run()
  }

  stop(): void {
    clearTimeout(this.#handle)
    if (this.#late !== undefined) clearImmediate(this.#late)
  }

  /** Lets the process end although the timer is still set. */
  unref(): this {
    this.#unref = true
    this.#handle?.unref()
    return this
  }
}

/**
 * Milliseconds left until the context's deadline: negative when it has passed, `Infinity` when
 * there is none.
 */
export function remaining(context: { readonly deadline: number }): number {
  return context.deadline === Number.POSITIVE_INFINITY
    ? context.deadline
    : context.deadline - performance.now()
}

/**
 * Waits `ms`, unless one of the `cancels` is aborted first: then it rejects with that reason, and
 * no timer stays.
 */
export function sleep(ms: number, ...cancels: Cancel[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      timer.stop()
      for (const cancel of cancels) cancel.remove(listener)
    }
    const timer = new Timer(ms, () => {
      stop()
      resolve()
    })
    const listener: AbortListener = {
      abort(reason) {
        stop()
        reject(reason)
      },
    }
    for (const cancel of cancels) {
      cancel.add(listener)
      if (cancel.aborted) return
    }
  })
}
