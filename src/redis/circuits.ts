import { randomUUID } from 'node:crypto'
import {
  type CircuitOpening,
  type CircuitWatcher,
  digest,
  now,
  type SharedCircuit,
  type SharedCircuits,
} from '../core/index.js'
import { CLAIM, CLOSE, KEPT, OPEN, READ, RELEASE } from './circuit-scripts.js'
import type { Connection } from './connection.js'
import type { Messages } from './messages.js'
import { ALONE } from './operations.js'
import { runScript } from './run-script.js'

/** An open circuit, with times on the clock of this process. */
interface Open {
  readonly openings: number
  readonly until: number
}

/**
 * The circuits of one breaker. Open circuits are stored in Redis, where each new process reads them
 * once; all further changes are sent as messages. Circuits are identified by digests of their keys.
 */
export class RedisCircuits implements SharedCircuits {
  readonly #connection: Connection
  readonly #messages: Messages
  readonly #breaker: string
  /** Has a hash tag: all circuits of a breaker and their trials are in one slot of a cluster. */
  readonly #key: string
  readonly #members = new Map<string, Set<Member>>()
  readonly #open = new Map<string, Open>()

  constructor(connection: Connection, messages: Messages, prefix: string, breaker: string) {
    this.#connection = connection
    this.#messages = messages
    this.#breaker = breaker
    this.#key = `${prefix}:circuits:{${breaker}}`
    messages.listen({
      received: (message) => {
        if (!('breaker' in message) || message.breaker !== breaker) return
        const { type, key } = message
        if (type === 'opened') this.#onOpened(key, { ...message, resetsInMs: message.ms })
        else if (type === 'closed') this.#onClosed(key)
        else for (const { watcher } of this.#membersOf(key)) watcher.released()
      },
      missed: () => void this.#read(),
    })
    void connection.opened.then(() => this.#read())
  }

  join(key: string, watcher: CircuitWatcher): SharedCircuit {
    const circuit = digest(this.#breaker, key)
    const member = new Member(this, circuit, watcher)
    const members = this.#members.get(circuit) ?? new Set()
    this.#members.set(circuit, members.add(member))
    const { openings, until } = this.#open.get(circuit) ?? { openings: 0, until: 0 }
    if (until > now()) watcher.opened({ openings, resetsInMs: until - now() })
    return member
  }

  /** @internal */
  leave(member: Member): void {
    const members = this.#members.get(member.circuit)
    members?.delete(member)
    if (members?.size === 0) this.#members.delete(member.circuit)
  }

  /** @internal */
  opened(by: Member, opening: CircuitOpening): void {
    const { circuit } = by
    const { openings } = opening
    const ms = Math.ceil(opening.resetsInMs)
    void this.#run(OPEN, by, [circuit, String(openings), String(ms)])
    this.#messages.send({ type: 'opened', breaker: this.#breaker, key: circuit, openings, ms })
    this.#onOpened(circuit, opening, by)
  }

  /** @internal */
  closed(by: Member): void {
    const { circuit } = by
    void this.#run(CLOSE, by, [circuit])
    this.#messages.send({ type: 'closed', breaker: this.#breaker, key: circuit })
    this.#onClosed(circuit, by)
  }

  /** @internal */
  async claim(by: Member, ms: number): Promise<number | null> {
    const waitMs = await this.#run<number>(CLAIM, by, [by.circuit, by.id, String(ms)])
    return waitMs === ALONE ? null : waitMs
  }

  /** @internal */
  async release(by: Member): Promise<void> {
    const { circuit, id } = by
    // Another process may have taken the trial by now.
    if ((await this.#run<number>(RELEASE, by, [id])) !== 1) return
    this.#messages.send({ type: 'released', breaker: this.#breaker, key: circuit })
    for (const { watcher } of this.#membersOf(circuit, by)) watcher.released()
  }

  #onOpened(circuit: string, opening: CircuitOpening, by?: Member): void {
    const { openings, resetsInMs } = opening
    // Delete first, so that the entry moves to the end.
    this.#open.delete(circuit)
    this.#open.set(circuit, { openings, until: now() + resetsInMs })
    const [oldest] = this.#open.keys()
    if (this.#open.size > KEPT) this.#open.delete(oldest as string)
    for (const { watcher } of this.#membersOf(circuit, by)) watcher.opened(opening)
  }

  #onClosed(circuit: string, by?: Member): void {
    this.#open.delete(circuit)
    for (const { watcher } of this.#membersOf(circuit, by)) watcher.closed()
  }

  #membersOf(circuit: string, except?: Member): Member[] {
    return [...(this.#members.get(circuit) ?? [])].filter((member) => member !== except)
  }

  /** Reads changes from before this process subscribed, or while it was disconnected. */
  async #read(): Promise<void> {
    const found = await this.#connection.run((client) =>
      runScript<readonly string[]>(client, READ, [this.#key], []),
    )
    if (found === ALONE) return
    for (let i = 0; i < found.length; i += 3) {
      const [circuit, openings, resetsInMs] = found.slice(i, i + 3)
      this.#onOpened(circuit as string, {
        openings: Number(openings),
        resetsInMs: Number(resetsInMs),
      })
    }
  }

  #run<T>(script: string, { circuit }: Member, asked: string[]): Promise<T | typeof ALONE> {
    const keys = [`${this.#key}:${circuit}`, this.#key]
    return this.#connection.run((client) => runScript<T>(client, script, keys, asked))
  }
}

/** One breaker layer's view of a circuit. */
class Member implements SharedCircuit {
  /** Identifies the holder of the trial among all processes. */
  readonly id = randomUUID()
  readonly circuit: string
  readonly watcher: CircuitWatcher
  readonly #circuits: RedisCircuits

  constructor(circuits: RedisCircuits, circuit: string, watcher: CircuitWatcher) {
    this.#circuits = circuits
    this.circuit = circuit
    this.watcher = watcher
  }

  opened(opening: CircuitOpening): void {
    this.#circuits.opened(this, opening)
  }

  closed(): void {
    this.#circuits.closed(this)
  }

  claim(ms: number): Promise<number | null> {
    return this.#circuits.claim(this, ms)
  }

  release(): void {
    void this.#circuits.release(this)
  }

  leave(): void {
    this.#circuits.leave(this)
  }
}
