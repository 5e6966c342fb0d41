import type fc from 'fast-check'
import type { CallOptions } from '../../src/core/index.js'

/** A command that may come at any time. */
export const command = <Model extends object, Real>(
  name: string,
  run: (model: Model, real: Real) => Promise<void>,
): fc.AsyncCommand<Model, Real> => ({ check: () => true, run, toString: () => name })

/** The stack that a model is compared with. */
export interface RealStack<Request, Stats> {
  ask(request: Request, options: CallOptions): Promise<unknown>
  stats(): Stats
}
