import { type Clock, setClock } from '../../src/core/index.js'

/** A clock for decisions that wait for nothing: it stands where it is put. */
export class StillClock implements Clock, Disposable {
  at = 0
  /** Of the epoch, at 0. */
  wallAt = Date.UTC(2026, 0, 1)

  constructor() {
    setClock(this)
  }

  now(): number {
    return this.at
  }

  wallTime(): number {
    return this.wallAt + this.at
  }

  startTimer(): () => void {
    throw new Error('Nothing was to wait.')
  }

  runSoon(): () => void {
    return this.startTimer()
  }

  [Symbol.dispose](): void {
    setClock(undefined)
  }
}
