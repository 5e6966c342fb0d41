import { Link, LinkedList } from '../linked-list.js'
import { now } from './clock.js'
import { Timer } from './timer.js'

/** What is told when an alarm goes off. */
export interface AlarmListener {
  ring(): void
}

/** One alarm, in the line of those with its duration. */
export interface Alarm {
  stop(): void
}

/**
 * Alarms of few different durations, with one timer of Node's for each duration: nearly all calls
 * end long before their time, and a place in a list costs a tenth of a timer. Equal durations go
 * off in the order in which they were set, so only the first one needs a timer.
 */
export class Alarms {
  readonly #lines = new Map<number, Line>()
  #last: Line | undefined

  /** Rings `listener` once after `ms` milliseconds, unless it is stopped before. */
  set(ms: number, listener: AlarmListener): Alarm {
    let line = this.#last
    if (line === undefined || line.ms !== ms) {
      line = this.#lines.get(ms)
      if (line === undefined) {
        line = new Line(ms, this.#lines)
        this.#lines.set(ms, line)
      }
      this.#last = line
    }
    return line.add(listener)
  }
}

class Place extends Link implements Alarm {
  readonly due: number
  readonly listener: AlarmListener
  readonly #line: Line

  constructor(due: number, listener: AlarmListener, line: Line) {
    super()
    this.due = due
    this.listener = listener
    this.#line = line
  }

  stop(): void {
    this.#line.remove(this)
  }
}

/** Timers may fire this early. Milliseconds. */
const GRAIN_MS = 1

class Line {
  readonly ms: number
  readonly #lines: Map<number, Line>
  readonly #places = new LinkedList<Place>()
  #timer: Timer | undefined
  /** Whom the timer was set for. */
  #awaited: Place | undefined
  #arming = false

  constructor(ms: number, lines: Map<number, Line>) {
    this.ms = ms
    this.#lines = lines
  }

  add(listener: AlarmListener): Place {
    const place = new Place(now() + this.ms, listener, this)
    const wasEmpty = this.#places.first === undefined
    this.#places.add(place)
    if (wasEmpty && !this.#arming) {
      // Not yet: a call that ends within the same turn needs no timer at all.
      this.#arming = true
      this.#lines.set(this.ms, this)
      process.nextTick(arm, this)
    }
    return place
  }

  remove(place: Place): void {
    if (!this.#places.remove(place) || this.#places.first !== undefined) return
    this.#timer?.stop()
    this.#timer = undefined
    this.#awaited = undefined
    if (!this.#arming) this.#lines.delete(this.ms)
  }

  arm(): void {
    this.#arming = false
    const { first } = this.#places
    if (first === undefined) this.#lines.delete(this.ms)
    else if (this.#timer === undefined) {
      this.#awaited = first
      this.#timer = new Timer(first.due - now(), () => this.#ring())
    }
  }

  #ring(): void {
    // Its time has come, whatever the clock says.
    const awaited = this.#awaited
    this.#timer = undefined
    this.#awaited = undefined
    const reached = now()
    for (let place = this.#places.first; place !== undefined; place = this.#places.first) {
      if (place !== awaited && place.due > reached + GRAIN_MS) break
      this.#places.remove(place)
      place.listener.ring()
    }
    this.arm()
  }
}

const arm = (line: Line): void => line.arm()
