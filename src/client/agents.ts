import { Agent, type Dispatcher } from 'undici'
import type { Transport } from '../core/index.js'

/**
 * Chooses the undici dispatcher for each call. A dispatcher passed by the user serves every call
 * and is never closed here. Otherwise each pool member gets its own agent, so that members share
 * no sockets.
 */
export class Agents {
  readonly #given: Dispatcher | undefined
  readonly #own = new Map<string, Agent>()

  constructor(given: Dispatcher | undefined) {
    this.#given = given
  }

  /** The dispatcher for a call to this pool member. Without a member, sockets are not limited. */
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

  /** Whether the user passed the dispatcher, which may come from another version of undici. */
  get isGiven(): boolean {
    return this.#given !== undefined
  }

  /** Closes the client's own agents and their sockets. */
  async close(): Promise<void> {
    await Promise.all([...this.#own.values()].map((agent) => agent.destroy()))
  }
}

function makeAgent(connections: number | undefined): Agent {
  // The layers set the time limits. undici's default timers would abort slow models after 300 s.
  const timers = { headersTimeout: 0, bodyTimeout: 0 }
  return new Agent(connections === undefined ? timers : { ...timers, connections, pipelining: 1 })
}
