import { ConfigError, check, isSharedState, rules, type SharedState } from '../../core/index.js'

/** Option `streams` of `createGateway()`. */
export interface StreamsOptions {
  /**
   * Shared state of several servers, from `redisShared()`, so that a stream can be resumed on any
   * of them.
   * @default this server only: a stream can be resumed only on the server that runs it
   */
  shared?: SharedState | undefined
  /**
   * How long a stream continues while no client is connected. Milliseconds, at most one day; 0
   * stops it immediately.
   * @default 30000
   */
  graceMs?: number | undefined
  /**
   * How long a stream can be resumed after its end. Milliseconds, at least 1, at most one day.
   * @default 600000 (10 minutes)
   */
  keepMs?: number | undefined
}

export interface CheckedStreamsOptions {
  readonly shared: SharedState | undefined
  readonly graceMs: number
  readonly keepMs: number
}

const SUBJECT = 'createGateway: streams'
const DAY_MS = 24 * 3_600_000

/** Checks the type of the option; `readStreamsOptions` checks its fields. */
export const streamsRule = rules.custom<boolean | StreamsOptions, false>(
  'true, false or an object { shared, graceMs, keepMs }',
  false,
  (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null),
)

/**
 * Reads the option; returns `undefined` if streams cannot be resumed.
 * @throws ConfigError if the option is invalid
 */
export function readStreamsOptions(
  given: boolean | StreamsOptions,
): CheckedStreamsOptions | undefined {
  if (given === false) return undefined
  return check<CheckedStreamsOptions>(SUBJECT, given === true ? undefined : given, {
    shared: rules.custom<SharedState, undefined>(
      'the result of redisShared()',
      undefined,
      isSharedState,
    ),
    graceMs: rules.duration(30_000, { min: 0, max: DAY_MS }) as rules.Rule<number>,
    keepMs: rules.duration(600_000, { min: 1, max: DAY_MS }) as rules.Rule<number>,
  })
}

/** @throws ConfigError if `routes` names the routes of streams but the option is off */
export function checkStreamRoutes(
  routes: readonly string[] | undefined,
  streams: CheckedStreamsOptions | undefined,
): void {
  const named = routes?.find((name) => name.startsWith('v1-streams'))
  if (named !== undefined && streams === undefined)
    throw new ConfigError(`createGateway: the route "${named}" needs the option "streams".`)
}
