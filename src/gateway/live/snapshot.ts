import { type LayerEntry, type SharedState, wallTime } from '../../core/index.js'
import type { BreakerLayer, BreakerState } from '../../layers/breaker/index.js'
import type { PoolStats } from '../../layers/pool/index.js'
import type { QueueLayer, QueueStats, QueueTenant } from '../../layers/queue/index.js'

/** The current state of one layer. */
interface LayerNow {
  /** Its key in the stats. */
  readonly name: string
  readonly kind: string
  /** Note if the layer is in the wrong place in the stack. */
  readonly note?: string | undefined
  /** Stats by name. Nested ones have both names: `circuits.open`. */
  readonly stats: Readonly<Record<string, number | string>>
}

/** A circuit that is not closed. */
interface CircuitNow {
  readonly layer: string
  readonly key?: string | undefined
  readonly state: BreakerState | 'isolated'
  /** Milliseconds until trial calls may run; 0 for an isolated circuit, which waits for a reset. */
  readonly resetsInMs: number
}

/** A member of a pool. */
interface MemberNow {
  readonly layer: string
  readonly active: number
  readonly state: string
}

/** The state shared with other processes. */
interface SharedNow {
  readonly processes: number
  readonly failures: number
  readonly alone: number
}

/** The current state of all layers. */
export interface StackNow {
  readonly layers: readonly LayerNow[]
  readonly waiting: number
  readonly circuits: readonly CircuitNow[]
  readonly members: readonly MemberNow[]
  readonly tenants: readonly QueueTenant[]
  readonly shared: SharedNow | undefined
}

interface Described {
  readonly name: string
  readonly note?: string | undefined
}

const SHOWN = 12

/** Reads the current state of the layers. */
export function readStack(
  entries: readonly LayerEntry[],
  described: readonly Described[],
): StackNow {
  const of = (kind: string) => entries.filter((entry) => entry.kind === kind)
  const notes = new Map(described.map(({ name, note }) => [name, note]))
  const queues = of('queue')
  return {
    layers: entries.map((entry) => layerNow(entry, notes.get(entry.name))),
    waiting: queues.reduce((sum, { stats }) => sum + (stats() as QueueStats).waiting, 0),
    circuits: of('breaker').flatMap(circuitsOf).slice(0, SHOWN),
    members: of('pool').flatMap(membersOf).slice(0, SHOWN),
    tenants: queues.flatMap(({ layer }) => (layer as QueueLayer).tenants(SHOWN)).slice(0, SHOWN),
    shared: sharedNow(entries),
  }
}

const layerNow = ({ name, kind, stats }: LayerEntry, note: string | undefined): LayerNow => ({
  name,
  kind,
  note,
  stats: Object.fromEntries(flat('', stats())),
})

/** Numbers and states by name. Lists are left out: the page shows them separately. */
function flat(prefix: string, stats: object): (readonly [string, number | string])[] {
  return Object.entries(stats).flatMap(([key, value]): (readonly [string, number | string])[] => {
    if (typeof value === 'number') return [[prefix + key, Math.round(value * 100) / 100]]
    if (typeof value === 'string') return [[prefix + key, value.slice(0, 64)]]
    const isNested = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isNested && prefix === '' ? flat(`${key}.`, value) : []
  })
}

function circuitsOf({ name, layer }: LayerEntry): CircuitNow[] {
  const { circuits, isolated, exceptions } = (layer as BreakerLayer).exportState()
  const keys = isolated ? [undefined] : exceptions
  return [
    ...keys.map((key) => ({
      layer: name,
      key: key?.slice(0, 64),
      state: 'isolated' as const,
      resetsInMs: 0,
    })),
    ...circuits.map(({ key, resetsAt }) => ({
      layer: name,
      key: key?.slice(0, 64),
      state: resetsAt > wallTime() ? ('open' as const) : ('half-open' as const),
      resetsInMs: Math.max(0, Math.round(resetsAt - wallTime())),
    })),
  ]
}

const membersOf = ({ name, stats }: LayerEntry): MemberNow[] =>
  (stats() as PoolStats).members.map(({ active, state }) => ({ layer: name, active, state }))

function sharedNow(entries: readonly LayerEntry[]): SharedNow | undefined {
  const states = new Set(entries.map(({ shared }) => shared))
  const known = [...states].flatMap((state: SharedState | undefined) => state?.stats?.() ?? [])
  const [first] = known
  if (first === undefined) return undefined
  const sum = (name: 'failures' | 'alone') => known.reduce((all, one) => all + one[name], 0)
  return { processes: first.processes, failures: sum('failures'), alone: sum('alone') }
}
