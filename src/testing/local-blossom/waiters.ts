/** Saved before anybody can install fake timers, because `waitFor()` must still time out. */
const realSetTimeout = globalThis.setTimeout
const realClearTimeout = globalThis.clearTimeout

/** Predicates over a state, evaluated again at every change. @internal */
export class Waiters<State> {
  readonly #waiting = new Set<{ look(): void; fail(reason: Error): void }>()
  #closed = false

  constructor(
    private readonly state: State,
    private readonly describe: () => string,
  ) {}

  /** Evaluates all predicates again. */
  look(): void {
    for (const waiter of [...this.#waiting]) waiter.look()
  }

  wait(predicate: (state: State) => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = () => {
        realClearTimeout(timer)
        this.#waiting.delete(waiter)
      }
      const waiter = {
        look: () => {
          try {
            if (!predicate(this.state)) return
            finish()
            resolve()
          } catch (error) {
            finish()
            reject(error)
          }
        },
        fail: (reason: Error) => {
          finish()
          reject(reason)
        },
      }
      const late = () =>
        waiter.fail(
          new Error(
            `waitFor: the predicate was not true within ${timeoutMs} ms (${this.describe()}).`,
          ),
        )
      const timer = realSetTimeout(late, timeoutMs)
      this.#waiting.add(waiter)
      waiter.look()
      if (this.#closed) waiter.fail(new Error('waitFor: the local Blossom is closed.'))
    })
  }

  close(): void {
    this.#closed = true
    this.look()
    for (const waiter of [...this.#waiting])
      waiter.fail(
        new Error('waitFor: the local Blossom was closed before the predicate became true.'),
      )
  }
}
