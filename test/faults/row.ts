import type { Dispatcher } from 'undici'
import type { BreakerState, TargetClient } from '../../src/core.js'
import type { ErrorCode } from '../../src/index.js'
import type { AcceptPlay, FaultUpstream, Play } from '../support/fault-upstream.js'
import type { RowLayers } from './layers.js'
import type { AskOptions, Outcome, Scene } from './scene.js'

export type Method =
  | 'text.generate'
  | 'text.stream'
  | 'chat.create'
  | 'chat.stream'
  | 'image.generate'
  | 'embeddings.create'

/** One fault and what must come of it. */
export interface Row {
  /** What goes wrong. */
  readonly fault: string
  /** @default 'text.generate' */
  readonly call?: Method
  readonly options?: AskOptions
  /**
   * What upstream does with each request of the call; of a list, with one each, and those that
   * follow are answered properly.
   */
  readonly play?: Play | readonly Play[]
  /** What upstream does with each connection. */
  readonly accept?: AcceptPlay
  /**
   * What the call comes to: an answer, one that its reader leaves, an error's code, or the reason
   * of the caller's own signal.
   */
  readonly ends: ErrorCode | 'answer' | 'left' | 'the reason'
  /** Requests that upstream sees. */
  readonly requests: number
  /** Requests that the client tries to make. @default `requests` */
  readonly attempts?: number
  /** Options of the layers that the fault is about; `other`: a client with an upstream of its own. */
  readonly layers?: RowLayers | ((other: TargetClient) => RowLayers)
  /** What the upstream of the other client does, and the requests that it sees. @default 0 */
  readonly other?: { readonly play?: Play | readonly Play[]; readonly requests: number }
  /** Calls in progress that the layers let through behind the fault. @default 1 */
  readonly slots?: number
  /** Verdicts that the breaker counts, and its state behind the call. @default 'closed' */
  readonly breaker: {
    readonly failures?: number
    readonly successes?: number
    readonly state?: BreakerState
  }
  /** More of the error. */
  readonly error?: object
  /**
   * What the reader gets, of a stream that breaks too.
   * @default the whole text of an answer, nothing of a failure
   */
  readonly text?: string | ((token: string) => string)
  /**
   * Whether the answer is kept: the same call again makes no request. @default for an answer, yes
   */
  readonly kept?: boolean
  /** Time is the test's: limits of whole seconds pass at once. */
  readonly clock?: boolean
  /** Upstream speaks TLS. */
  readonly secure?: boolean
  /** Where the client believes upstream to be. @default where it is */
  readonly baseURL?: (upstream: FaultUpstream) => string
  /** Connects instead of the pool's own. */
  readonly dispatcher?: (upstream: FaultUpstream) => Dispatcher
  readonly before?: (scene: Scene) => unknown
  /** What the call is, when it is not just one whose answer is read to its end. */
  readonly act?: (scene: Scene) => Promise<Outcome>
  readonly after?: (scene: Scene) => unknown
  readonly also?: (outcome: Outcome, scene: Scene) => unknown
}

/** Faults of one kind, as the table lists them. */
export interface Group {
  readonly title: string
  readonly rows: readonly Row[]
}

export const methodOf = (row: Row): Method => row.call ?? 'text.generate'
export const attemptsOf = (row: Row): number => row.attempts ?? row.requests
