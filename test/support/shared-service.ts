import {
  type CircuitWatcher,
  now,
  type SharedCircuits,
  type SharedSlot,
  type SharedSlots,
  type SharedState,
} from '../../src/core/index.js'
import { onlyShared } from './only-shared.js'

/** What each process is asked through: as soon as it may, or when a test lets it. */
export type Way = () => Promise<void>

const atOnce: Way = async () => {}

/** One process of a service in memory. */
export interface Process extends SharedState {
  /** Whether it reaches the others. */
  isThere: boolean
  /** Whether what it takes is taken, and nobody tells it. */
  losesReplies: boolean
  /** What it has asked, in order. */
  readonly asked: string[]
}

interface Member {
  readonly process: Process
  readonly watcher: CircuitWatcher
}

/** A circuit of all processes. */
class Circuit {
  readonly members = new Set<Member>()
  open: { readonly openings: number; readonly until: number } | undefined
  trial: { readonly of: Member; readonly until: number } | undefined

  tell(from: Member, tell: (watcher: CircuitWatcher) => void): void {
    for (const { process, watcher } of this.members)
      if (process.isThere && process !== from.process) tell(watcher)
  }
}

/** Several processes with one shared state, all in this one. */
export class Service {
  readonly #way: Way
  readonly #circuits = new Map<string, Circuit>()
  /** The slots that are taken, by the name of the queue. */
  readonly slots = new Map<string, Set<SharedSlot>>()
  /** Who waits, with the calls that want to be told. */
  readonly #lines = new Map<string, Map<object, () => void>>()
  readonly #all: Process[] = []

  constructor(way: Way = atOnce) {
    this.#way = way
  }

  /** One more process. */
  join(): Process {
    const process: Process = onlyShared({
      isThere: true,
      losesReplies: false,
      asked: [],
      circuits: (name: string) => this.#circuitsOf(process, name),
      slots: (name: string) => this.#slotsOf(process, name),
    })
    this.#all.push(process)
    return process
  }

  #circuitsOf(process: Process, name: string): SharedCircuits {
    return {
      join: (key, watcher) => {
        const circuit = this.#circuits.get(`${name} ${key}`) ?? new Circuit()
        this.#circuits.set(`${name} ${key}`, circuit)
        const member = { process, watcher }
        circuit.members.add(member)
        const { openings, until } = circuit.open ?? { openings: 0, until: 0 }
        if (until > now()) watcher.opened({ openings, resetsInMs: until - now() })
        const { asked } = process
        return {
          opened: (opening) => {
            asked.push('opened')
            if (!process.isThere) return
            const { openings, resetsInMs } = opening
            circuit.open = { openings, until: now() + resetsInMs }
            circuit.trial = undefined
            circuit.tell(member, (other) => other.opened(opening))
          },
          closed: () => {
            asked.push('closed')
            if (!process.isThere) return
            circuit.open = undefined
            circuit.trial = undefined
            circuit.tell(member, (other) => other.closed())
          },
          claim: async (ms) => {
            asked.push('claim')
            await this.#way()
            if (!process.isThere) return null
            const { trial } = circuit
            if (trial !== undefined && trial.of !== member && trial.until > now())
              return trial.until - now()
            circuit.trial = { of: member, until: now() + ms }
            return 0
          },
          release: () => {
            asked.push('release')
            if (circuit.trial?.of !== member) return
            circuit.trial = undefined
            circuit.tell(member, (other) => other.released())
          },
          leave: () => circuit.members.delete(member),
        }
      },
    }
  }

  #slotsOf(process: Process, name: string): SharedSlots {
    const taken = this.slots.get(name) ?? new Set<SharedSlot>()
    this.slots.set(name, taken)
    const line = this.#lines.get(name) ?? new Map<object, () => void>()
    this.#lines.set(name, line)
    const all = this.#all
    const me = {}
    let freed = () => {}
    const tellFirst = () => void line.values().next().value?.()
    const { asked } = process
    return {
      get processes() {
        return all.length
      },
      take: async (slot, limit, waiting) => {
        asked.push(`take for ${waiting}`)
        await this.#way()
        if (!process.isThere) return null
        const ahead = line.has(me) ? [...line.keys()].indexOf(me) : line.size
        const isTaken = limit - taken.size > ahead
        if (isTaken) {
          taken.add(slot)
          if (waiting > 0) line.delete(me)
        }
        if (waiting > (isTaken ? 1 : 0)) line.set(me, freed)
        if (isTaken && taken.size < limit) tellFirst()
        return process.losesReplies ? null : isTaken
      },
      giveBack: (slot) => {
        asked.push('give back')
        if (process.isThere && taken.delete(slot)) tellFirst()
      },
      leave: () => {
        asked.push('leave')
        if (process.isThere && line.delete(me)) tellFirst()
      },
      watch: (told) => {
        freed = told
      },
    }
  }
}
