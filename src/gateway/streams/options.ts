import { ConfigError, check, isSharedState, rules, type SharedState } from '../../core/index.js'

/** Option `streams` of `createGateway()`. */
export interface StreamsOptions {
  /**
   * What several servers have together, from `redisShared()`: a stream that one of them has begun
   * can be resumed on each of them.
   * @default only on the server that has begun it
   */
  shared?: SharedState | undefined
  /**
   * How long a stream goes on while none of its clients is connected. Milliseconds; 0 stops it at
   * once.
   * @default 30000
   */
  graceMs?: number | undefined
  /** How long a stream can be resumed after its end. Milliseconds. @default 600000 (10 minutes) */
  keepMs?: number | undefined
}

export interface CheckedStreamsOptions {
  readonly shared: SharedState | undefined
  readonly graceMs: number
  readonly keepMs: number
}

const SUBJECT = 'createGateway: streams'
const DAY_MS = 24 * 3_600_000

/** Whether a value can be the option; what is in it is checked by `readStreamsOptions`. */
export const streamsRule = rules.custom<boolean | StreamsOptions, false>(
  'true, false or an object { shared, graceMs, keepMs }',
  false,
  (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null),
)

/**
 * What the option means; undefined when it is off.
 * @throws ConfigError for a wrong option
 */
export function readStreamsOptions(
  given: boolean | StreamsOptions,
): CheckedStreamsOptions | undefined {
  if (given === false) return undefined
  return check<CheckedStreamsOptions>(SUBJECT, given === true ? undefined : given, {
    shared: rules.custom<SharedState, undefined>(
      'the state that redisShared() returns',
      undefined,
      isSharedState,
    ),
    graceMs: rules.duration(30_000, { min: 0, max: DAY_MS }) as rules.Rule<number>,
    keepMs: rules.duration(600_000, { min: 1, max: DAY_MS }) as rules.Rule<number>,
  })
}

/** @throws ConfigError when the routes of streams are named and streams cannot be resumed */
export function checkStreamRoutes(
  routes: readonly string[] | undefined,
  streams: CheckedStreamsOptions | undefined,
): void {
  const named = routes?.find((name) => name.startsWith('v1-streams'))
  if (named !== undefined && streams === undefined)
    throw new ConfigError(`createGateway: the route "${named}" needs the option "streams".`)
}
