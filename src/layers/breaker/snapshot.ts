import { wallTime } from '../../core/index.js'
import type { OpenCircuit } from './circuit.js'

/** A saved circuit of a `breaker()`. */
export interface CircuitSnapshot {
  /** Its key; absent without the option `key`. */
  readonly key?: string | undefined
  /** How often it has opened in a row. */
  readonly openings: number
  /** When trials may start. Milliseconds since the epoch. */
  readonly resetsAt: number
}

/** The result of `exportState()` of a `breaker()`, as plain JSON. */
export interface BreakerSnapshot {
  /**
   * Whether all keys are isolated except `exceptions`. If false, only `exceptions` are isolated.
   */
  readonly isolated: boolean
  readonly exceptions: readonly string[]
  /** Circuits that are open or half-open and not isolated. */
  readonly circuits: readonly CircuitSnapshot[]
}

/** Converts a circuit for export. */
export function exported(
  key: string | undefined,
  { openings, resetsInMs }: OpenCircuit,
): CircuitSnapshot {
  const resetsAt = Math.ceil(wallTime() + resetsInMs)
  return key === undefined ? { openings, resetsAt } : { key, openings, resetsAt }
}

/** Converts an exported circuit to this process's clock. */
export function imported({ openings, resetsAt }: CircuitSnapshot): OpenCircuit {
  return { openings, resetsInMs: resetsAt - wallTime() }
}

/** Whether a value has the shape of an exported state. */
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
