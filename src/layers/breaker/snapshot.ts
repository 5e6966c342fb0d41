import { wallTime } from '../../core/index.js'
import type { OpenCircuit } from './circuit.js'

/** A circuit of a `breaker()` that its calls have opened. */
export interface CircuitSnapshot {
  /** Its key; absent without the option `key`. */
  readonly key?: string | undefined
  /** Openings in a row. */
  readonly openings: number
  /** When trials may run. Milliseconds since the epoch. */
  readonly resetsAt: number
}

/** What `exportState()` of a `breaker()` returns. It survives JSON. */
export interface BreakerSnapshot {
  /** Whether all keys are isolated, except those in `exceptions`; else only those are. */
  readonly isolated: boolean
  readonly exceptions: readonly string[]
  /** Those that are open or half-open, and not isolated. */
  readonly circuits: readonly CircuitSnapshot[]
}

/** A circuit as it is exported. */
export function exported(
  key: string | undefined,
  { openings, resetsInMs }: OpenCircuit,
): CircuitSnapshot {
  const resetsAt = Math.ceil(wallTime() + resetsInMs)
  return key === undefined ? { openings, resetsAt } : { key, openings, resetsAt }
}

/** The same on the clock of this process. */
export function imported({ openings, resetsAt }: CircuitSnapshot): OpenCircuit {
  return { openings, resetsInMs: resetsAt - wallTime() }
}

/** Whether it may be what `exportState()` has returned. */
export function isSnapshot(value: unknown): boolean {
  const { isolated, exceptions, circuits } = fieldsOf<BreakerSnapshot>(value)
  return (
    typeof isolated === 'boolean' &&
    Array.isArray(exceptions) &&
    exceptions.every((key) => typeof key === 'string') &&
    Array.isArray(circuits) &&
    circuits.every(isCircuit)
  )
}

function isCircuit(value: unknown): boolean {
  const { key, openings, resetsAt } = fieldsOf<CircuitSnapshot>(value)
  const isKey = key === undefined || typeof key === 'string'
  return isKey && Number.isInteger(openings) && Number(openings) > 0 && Number.isFinite(resetsAt)
}

const fieldsOf = <T>(value: unknown): { readonly [Field in keyof T]?: unknown } =>
  typeof value === 'object' && value !== null ? value : {}
