import type { LayerOf } from '../../core/index.js'
import { streamCases } from './stream-cases.js'
import { type AnyLayer, type Base, type Contract, type Run, Trial } from './trial.js'
import { valueCases } from './value-cases.js'

/** One rule that every layer must follow. */
export interface LayerContractCase {
  /** The rule, as a sentence without its subject: "passes a value through unchanged". */
  readonly name: string
  /** Rejects with an `AssertionError` when the layer breaks the rule. Needs real timers. */
  run(): Promise<void>
}

/** Options of `layerContract()`. */
export interface LayerContractOptions<Request = unknown> {
  /**
   * Returns the n-th request; different numbers must give different requests. For layers that
   * accept only certain requests.
   * @default a string
   */
  request?: ((n: number) => Request) | undefined
  /**
   * Returns the base's answer to a request, always the same for the same request.
   * @default values of all kinds
   */
  answer?: ((request: Request) => unknown) | undefined
  /** Whether to test the layer with streams too. @default true */
  streams?: boolean | undefined
}

/**
 * Returns the rules that every layer must follow, as cases for any test runner: answers, errors and
 * streams pass unchanged; the caller's abort reaches the work, and the call rejects with the
 * caller's reason; every answer ends once; nothing is left behind; calls do not mix; and the
 * context arrives unchanged. Each case creates its own layers and takes a few milliseconds.
 *
 * @param makeLayer creates the layer to test, or several as in a stack (outermost first); called
 * per case
 * @example for (const { name, run } of layerContract(() => myLayer())) it(name, run)
 */
export function layerContract<Request = unknown, Answer = unknown>(
  makeLayer: () => LayerOf<Request, Answer> | readonly LayerOf<Request, Answer>[],
  options: LayerContractOptions<Request> = {},
): LayerContractCase[] {
  const request = (options.request ?? ((n: number) => `request ${n}`)) as (n: number) => unknown
  const answer = options.answer as ((request: unknown) => unknown) | undefined
  const contract: Contract = {
    request,
    answer: answer ?? ((asked) => ({ asked, list: [1, { two: 2 }], none: null })),
    values: answer === undefined ? plainValues : () => [answer(request(0)), answer(request(1))],
    around: (base) => new Trial([makeLayer()].flat() as AnyLayer[], base, request),
  }
  const cases = options.streams === false ? valueCases : { ...valueCases, ...streamCases }
  return Object.entries(cases).map(([name, run]) => ({ name, run: () => supervise(run, contract) }))
}

/** Runs a case, then closes its stacks. Nothing may still be running in them. */
async function supervise(run: Run, contract: Contract): Promise<void> {
  const trials: Trial[] = []
  const around = (base: Base) => {
    const trial = contract.around(base)
    trials.push(trial)
    return trial
  }
  try {
    await run({ ...contract, around })
    for (const trial of trials) await trial.close()
  } finally {
    for (const { stack } of trials) await stack.close({ timeoutMs: 0 }).catch(() => {})
  }
}

const plainValues = () => [
  undefined,
  null,
  '',
  0,
  false,
  'text',
  [1, [2]],
  { a: { b: ['c'] }, d: undefined },
  Buffer.from([0, 1, 255]),
]
