import { type SharedState, sharedState } from '../../src/core/index.js'

const none = (): never => {
  throw new Error('A test that needs this part of a shared state gives it.')
}

/** Shared state of which only these parts are there. */
export const onlyShared = <Parts extends Partial<SharedState>>(parts: Parts): SharedState & Parts =>
  sharedState({
    entries: none,
    limits: none,
    logs: none,
    circuits: none,
    slots: none,
    jobs: none,
    ...parts,
  } as SharedState & Parts)
