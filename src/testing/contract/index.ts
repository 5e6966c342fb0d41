import type { LayerOf } from '../../core/index.js'
import { streamCases } from './stream-cases.js'
import { type AnyLayer, type Base, type Contract, type Run, Trial } from './trial.js'
import { valueCases } from './value-cases.js'

/** One thing that every layer must keep to. */
export interface LayerContractCase {
  /** What holds, as a sentence without its subject: "passes a value through unchanged". */
  readonly name: string
  /** Rejects with an `AssertionError` when the layer does otherwise. Needs real timers. */
  run(): Promise<void>
}

/** Options of `layerContract()`. */
export interface LayerContractOptions<Request = unknown> {
  /**
   * The n-th request; different numbers give different requests. For layers that accept requests of
   * a certain form only.
   * @default a text
   */
  request?: ((n: number) => Request) | undefined
  /**
   * What the base answers to a request, always the same for the same one.
   * @default values of all kinds
   */
  answer?: ((request: Request) => unknown) | undefined
  /** Whether the layer is tried with streams, too. @default true */
  streams?: boolean | undefined
}

/**
 * What a layer owes to the layers around it, as cases for any test runner: answers, errors and
 * streams pass unchanged, the caller's abort reaches the work and the call rejects with the
 * caller's reason, every answer ends once, nothing is left behind, calls do not mix, and the
 * context arrives inside whole. Each case makes layers of its own and takes some milliseconds.
 *
 * @param makeLayer makes the layer to try, or several as a stack has them (outermost first);
 * called for each case
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

/** Runs a case and then closes its stacks, in which nothing may run any more. */
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
