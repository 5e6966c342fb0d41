import type { Recorded } from '../support/history-run.js'
import * as callers from './invariants.js'
import type { Invariant } from './judging.js'
import * as layers from './layer-invariants.js'
import * as limits from './limit-invariants.js'
import * as otherTries from './other-tries-invariants.js'
import * as queues from './queue-invariants.js'
import * as sharing from './sharing-invariants.js'

/**
 * What is wrong with a history by any of the invariants, each with the invariant's name; nothing
 * when all is well.
 */
export function wrongs(history: Recorded): string[] {
  const all: Record<string, Invariant> = {
    ...callers,
    ...layers,
    ...limits,
    ...otherTries,
    ...queues,
    ...sharing,
  }
  return Object.entries(all).flatMap(([name, invariant]) =>
    invariant(history).map((wrong) => `${name}: ${wrong}`),
  )
}
