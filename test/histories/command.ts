import type fc from 'fast-check'

/** A command that may come at any time. */
export const command = <Model extends object, Real>(
  name: string,
  run: (model: Model, real: Real) => Promise<void>,
): fc.AsyncCommand<Model, Real> => ({ check: () => true, run, toString: () => name })
