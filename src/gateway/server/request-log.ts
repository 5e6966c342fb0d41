import type { ClientNote } from '../../client/types.js'
import {
  ANSWERED_BY,
  type AnsweredBy,
  isStackError,
  now,
  runHook,
  TELEMETRY,
  type TelemetryNote,
  TimeoutError,
  wallTime,
  warn,
} from '../../core/index.js'
import type { CacheNote } from '../../layers/cache/index.js'
import type { LimitLevel, RateLimitNote } from '../../layers/rate-limit/index.js'
import type { RouteTools } from '../routes/route.js'
import type { Finished } from './finished.js'

/** Notes of the layers about a call. */
export interface CallFacts {
  readonly queuedMs: number | undefined
  readonly cache: CacheNote['status'] | undefined
  readonly attempts: number | undefined
  readonly upstreamRequestId: string | undefined
  readonly traceId: string | undefined
  /** The model that answered, if it may differ from the requested one. */
  readonly model: string | undefined
  /** The remaining amounts of the outermost limits. */
  readonly limits: readonly LimitLevel[]
}

/** Reads the notes of a call, whatever the names of its layers. */
export function readNotes(
  meta: ReadonlyMap<string, unknown>,
  namesOf: (kind: string) => readonly string[],
): CallFacts {
  const first = <T>(kind: string): T | undefined => {
    for (const name of namesOf(kind)) if (meta.has(name)) return meta.get(name) as T
    return undefined
  }
  const client = meta.get('client') as ClientNote | undefined
  const cache = first<CacheNote>('cache')?.status
  return {
    queuedMs: first<{ waitedMs: number }>('queue')?.waitedMs,
    cache,
    attempts: client?.attempts ?? (cache === 'hit' || cache === 'stale' ? 0 : undefined),
    upstreamRequestId: client?.requestId,
    traceId: (meta.get(TELEMETRY) as TelemetryNote | undefined)?.traceId,
    model: (meta.get(ANSWERED_BY) as AnsweredBy | undefined)?.model,
    limits: first<RateLimitNote>('rateLimit')?.limits ?? [],
  }
}

const round = (ms: number): number => Number(ms.toFixed(1))

/** Reports a request to the operator's `onError` and `log`. */
export function report(
  finished: Finished,
  { options, view, watcher }: Pick<RouteTools, 'options' | 'view' | 'watcher'>,
): void {
  watcher?.(finished)
  const { requestId, method, route, startedAt, firstTokenMs, caller, error } = finished
  const { meta = new Map<string, unknown>(), left = false } = finished
  const status = left ? 499 : finished.status
  const { onError, log } = options
  if (error !== undefined && !left && onError)
    runHook('createGateway: onError()', () => onError(error, { requestId, route, status }))
  // Only the operator can fix it, so without hooks it is reported as a warning.
  if (!onError && !log && isStackError(error, 'CONFIG')) warn(error.message)
  if (!log) return
  const code = error === undefined ? undefined : isStackError(error) ? error.code : 'INTERNAL'
  const { queuedMs, cache, attempts, upstreamRequestId, traceId } = readNotes(meta, (kind) =>
    view.namesOf(kind),
  )
  runHook('createGateway: log()', () =>
    log({
      time: new Date(wallTime()).toISOString(),
      level:
        status >= 500 || (status < 400 && firstTokenMs !== undefined && code !== undefined)
          ? 'error'
          : status >= 400
            ? 'warn'
            : 'info',
      requestId,
      method,
      route,
      status,
      durationMs: round(now() - startedAt),
      ...(firstTokenMs !== undefined && { firstTokenMs: round(firstTokenMs) }),
      ...(queuedMs !== undefined && { queuedMs: round(queuedMs) }),
      ...(cache !== undefined && { cached: cache !== 'miss' }),
      ...(attempts !== undefined && { attempts }),
      ...(upstreamRequestId !== undefined && { upstreamRequestId }),
      ...(traceId !== undefined && { traceId }),
      ...(caller.tenant !== undefined && { tenant: caller.tenant }),
      ...(caller.clientAddress !== undefined && { clientAddress: caller.clientAddress }),
      ...(code !== undefined && { code }),
      ...(error instanceof TimeoutError && { phase: error.phase }),
      ...(isStackError(error, 'CONFIG') && { detail: error.message }),
    }),
  )
}
