import { Agent, type Dispatcher } from 'undici'
import type { Transport } from '../core/index.js'

/**
 * What carries a client's calls: the user's own dispatcher, which carries all of them and is never
 * closed here, or undici agents of the client's, one for each member of a pool, so that each has
 * sockets of its own.
 */
export class Agents {
  readonly #given: Dispatcher | undefined
  readonly #own = new Map<string, Agent>()

  constructor(given: Dispatcher | undefined) {
    this.#given = given
  }

  /** Who carries a call that goes to this member; without one, as many sockets as it takes. */
  carrierOf(transport: Transport | undefined): Dispatcher {
    if (this.#given !== undefined) return this.#given
    const { member, connections } = transport ?? {}
    const name = `${member}/${connections}`
    let agent = this.#own.get(name)
    if (agent === undefined) {
      agent = makeAgent(connections)
      this.#own.set(name, agent)
    }
    return agent
  }

  /** Whether the dispatcher is the user's own, and may be of another version of undici. */
  get isGiven(): boolean {
    return this.#given !== undefined
  }

  /** Closes the client's own agents with their sockets. */
  async close(): Promise<void> {
    await Promise.all([...this.#own.values()].map((agent) => agent.destroy()))
  }
}

function makeAgent(connections: number | undefined): Agent {
  // Our own limits rule: undici's header and body timers cut slow models after 300 s.
  const timers = { headersTimeout: 0, bodyTimeout: 0 }
  return new Agent(connections === undefined ? timers : { ...timers, connections, pipelining: 1 })
}
