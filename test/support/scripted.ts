import type { Context } from '../../src/core/index.js'

/** What one call answers: a value, an error to throw, or a function to run. */
export type Step<Request, Answer> =
  | Answer
  | Error
  | ((request: Request, context: Context) => Answer | Promise<Answer>)

export interface Scripted<Request, Answer> {
  (request: Request, context: Context): Promise<Answer>
  /** The calls so far. */
  readonly calls: { readonly request: Request; readonly context: Context }[]
}

/** A base that answers call after call with its steps; the last step is repeated. */
export function scripted<Answer, Request = string>(
  ...steps: Step<Request, Answer>[]
): Scripted<Request, Answer> {
  const calls: { request: Request; context: Context }[] = []
  const answer = async (request: Request, context: Context): Promise<Answer> => {
    const step = steps[Math.min(calls.length, steps.length - 1)]
    calls.push({ request, context })
    if (step instanceof Error) throw step
    return typeof step === 'function'
      ? (step as (request: Request, context: Context) => Answer | Promise<Answer>)(request, context)
      : (step as Answer)
  }
  return Object.assign(answer, { calls })
}

/** A base that throws without a promise. */
export const throwing = (): never => {
  throw new Error('at once')
}
