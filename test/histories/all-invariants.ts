import type { Recorded } from '../support/history-run.js'
import * as callers from './invariants.js'
import * as layers from './layer-invariants.js'

const { GRAIN_MS: _, ...ofCallers } = callers

/**
 * What is wrong with a history by any of the invariants, each with the invariant's name; nothing
 * when all is well.
 */
export function wrongs(history: Recorded): string[] {
  const all: Record<string, callers.Invariant> = { ...ofCallers, ...layers }
  return Object.entries(all).flatMap(([name, invariant]) =>
    invariant(history).map((wrong) => `${name}: ${wrong}`),
  )
}
