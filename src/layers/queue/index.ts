import {
  type Context,
  check,
  defineLayer,
  type Layer,
  onEnd,
  QueueFullError,
  RateLimitError,
  remaining,
  rules,
  type StreamEnd,
  Timer,
} from '../../core/index.js'
import { patience, WaitingRoom } from '../waiting-room.js'
import { RateWindow } from './rate-window.js'
import { ServiceTime } from './service-time.js'

/** Options of `queue()`. */
export interface QueueOptions<Name extends string = 'queue'> {
  /** Calls in progress at once, a stream until its end. @default 5 */
  concurrency?: number | undefined
  /** Calls that may wait; one more is refused at once. 0: nobody waits. @default 1000 */
  maxWaiting?: number | undefined
  /** Longest wait. Milliseconds. @default none */
  maxWaitMs?: number | undefined
  /** At most `limit` calls begin within any `intervalMs`. @default none */
  rate?: { limit: number; intervalMs: number } | undefined
  /** Key in `stats()`. @default 'queue' */
  name?: Name | undefined
}

/** What `queue()` has counted, and who runs and waits. */
export interface QueueStats {
  readonly concurrency: number
  /** Gauge: calls in progress. */
  readonly running: number
  /** Gauge: calls that wait. */
  readonly waiting: number
  /** Answers that ended well, or that their reader left early. */
  readonly completed: number
  /** Calls that ran and failed. */
  readonly failed: number
  /** Calls that never ran: refused, timed out or aborted while they waited. */
  readonly rejected: number
}

/**
 * A call is let in when nine of ten like it would be done in time: a queue filled to the very edge
 * brings everybody to its head with next to no time left. At the head it is worth a slot as long as
 * some like it would still be done.
 */
const NEARLY_ALL = 0.9
const A_FEW = 0.25

/**
 * Bounds the calls in progress (a bulkhead) and the calls that wait for it. Larger `priority` goes
 * first. A slot is held to the end of the answer, for a stream to its last chunk; a waiting call
 * that is aborted leaves at once.
 *
 * A call that carries a deadline and, going by how long calls have taken, would not be done before
 * it, is refused at once, and again at the head of the queue: under overload the slots then go to
 * calls that somebody still waits for.
 *
 * @throws QueueFullError code `QUEUE_FULL`, status 503, at once, with `retryAfter`
 * @throws RateLimitError code `RATE_LIMITED`, status 429, at once when the rate would let the call
 * begin only after its deadline or `maxWaitMs`
 * @throws TimeoutError code `TIMEOUT`, phase `queue`, when `maxWaitMs` or the deadline passes while
 * the call waits
 * @example queue({ concurrency: 5, maxWaiting: 100, rate: { limit: 60, intervalMs: 60_000 } })
 */
export function queue<const Name extends string = 'queue'>(
  options: QueueOptions<Name> = {},
): Layer<Name, QueueStats> {
  const checked = check('queue', options, {
    concurrency: rules.integer(5, { min: 1 }),
    maxWaiting: rules.integer(1_000, { min: 0 }),
    maxWaitMs: rules.duration(undefined),
    rate: rules.custom<{ limit: number; intervalMs: number }, undefined>(
      'an object { limit, intervalMs }',
      undefined,
      (value) => typeof value === 'object' && value !== null,
    ),
    name: rules.layerName<Name>('queue'),
  })
  const { concurrency, maxWaiting, maxWaitMs, name } = checked
  const rate = checked.rate === undefined ? undefined : makeRate(checked.rate)
  const room = new WaitingRoom(maxWaiting)
  const stats = { running: 0, completed: 0, failed: 0, rejected: 0 }
  // Waits go by all calls; what a call itself takes goes by its kind, as streams take many times as
  // long as plain answers.
  const service = { all: new ServiceTime(), plain: new ServiceTime(), streamed: new ServiceTime() }
  let rateTimer: Timer | undefined

  const begin = () => {
    stats.running++
    rate?.take()
  }

  /** Lets waiting calls begin as far as slots and the rate allow. */
  const callWaiting = () => {
    while (room.waiting > 0 && stats.running < concurrency) {
      const delay = rate?.waitMs() ?? 0
      if (delay > 0) {
        rateTimer ??= new Timer(delay, () => {
          rateTimer = undefined
          callWaiting()
        })
        return
      }
      begin()
      room.callNext()
    }
    if (room.waiting === 0) {
      rateTimer?.stop()
      rateTimer = undefined
    }
  }

  const kindOf = (request: unknown, { base }: Context) =>
    base.streams?.(request) === true ? service.streamed : service.plain

  /**
   * Sheds a call that would be given up before it is done: a queue that serves everybody in turn
   * serves, when there is too much to do, exactly the calls that are about to expire.
   */
  const refuseIfLate = (
    request: unknown,
    context: Context,
    ahead: number,
    waitMs: number,
    share: number,
  ): void => {
    if (!service.all.isKnown) return
    const own = kindOf(request, context)
    const lateMs = waitMs + (own.isKnown ? own.within(share) : 0) - remaining(context)
    if (lateMs > 0) throw new QueueFullError(ahead, { layer: name, lateMs, retryAfter: lateMs })
  }

  const waitForTurn = async (request: unknown, context: Context): Promise<void> => {
    const since = performance.now()
    const { meanMs } = service.all
    room.admit(name, meanMs === 0 ? undefined : (meanMs * (room.waiting + 1)) / concurrency)
    const ahead = room.ahead(context.priority)
    refuseIfLate(request, context, ahead, ((ahead + 1) / concurrency) * meanMs, NEARLY_ALL)
    const delay = rate?.waitMs(ahead) ?? 0
    if (delay > 0 && delay >= patience(context, maxWaitMs)) {
      const sentence = `The rate allows the call to begin in ${Math.ceil(delay)} ms, too late for it; try again then.`
      throw new RateLimitError(sentence, { layer: name, refused: true, retryAfter: delay })
    }
    const turn = room.wait(context, { layer: name, maxWaitMs })
    callWaiting()
    try {
      await turn
      // Looked at again, as an estimate may have been wrong; but a start that the rate has counted
      // is not thrown away.
      if (rate === undefined) {
        try {
          refuseIfLate(request, context, 0, 0, A_FEW)
        } catch (error) {
          stats.running--
          callWaiting()
          throw error
        }
      }
    } finally {
      context.meta.set(name, { waitedMs: performance.now() - since })
      if (room.waiting === 0) callWaiting()
    }
  }

  return defineLayer({
    name,
    kind: 'queue',
    outside: { pool: 'a call that waits in the queue holds a connection; put queue outside.' },
    wrap: (next) => async (request, context) => {
      if (
        room.waiting === 0 &&
        stats.running < concurrency &&
        (rate === undefined || rate.waitMs() === 0)
      )
        begin()
      else {
        try {
          await waitForTurn(request, context)
        } catch (error) {
          stats.rejected++
          throw error
        }
      }
      const since = performance.now()
      const end = (outcome: StreamEnd['outcome']) => {
        const held = performance.now() - since
        service.all.add(held)
        kindOf(request, context).add(held)
        stats.running--
        if (outcome === 'failed') stats.failed++
        else stats.completed++
        if (room.waiting > 0) callWaiting()
      }
      try {
        return onEnd(await next(request, context), ({ outcome }) => end(outcome))
      } catch (error) {
        end('failed')
        throw error
      }
    },
    stats: () => ({
      concurrency,
      running: stats.running,
      waiting: room.waiting,
      completed: stats.completed,
      failed: stats.failed,
      rejected: stats.rejected,
    }),
  })
}

function makeRate(options: { limit: number; intervalMs: number }): RateWindow {
  const { limit, intervalMs } = check('queue', options, {
    limit: rules.required(rules.integer(undefined, { min: 1, max: 1_000_000 })),
    intervalMs: rules.required(rules.duration(undefined)),
  })
  return new RateWindow(limit, intervalMs)
}
