import { type CacheMode, ConfigError, isResponse } from '../core/index.js'

/** The identity of a caller, as returned by the option `call`. */
export interface Caller {
  /** Caches and shared calls never cross tenants. */
  tenant?: string | undefined
  /** Waiting calls with a larger priority run first. */
  priority?: number | undefined
  /**
   * How this request is cached: wins over the client's `Cache-Control`. Routes that never read the
   * cache do not begin to.
   */
  cache?: CacheMode | undefined
  /** For the log only. */
  clientAddress?: string | undefined
}

const CACHE_MODES: readonly unknown[] = ['default', 'reload', 'no-store', undefined]

/**
 * Checks what the option `call` has returned. Any implementation of `Response` refuses the request.
 * @throws ConfigError for anything that is neither a `Response` nor a caller
 */
export async function readCaller(given: unknown): Promise<Caller | Response> {
  if (given === undefined || given === null || isResponse(given)) return given ?? {}
  const wrong = (expected: string) =>
    new ConfigError(`createGateway: call() must return ${expected}.`)
  if (typeof given !== 'object')
    throw wrong('{ tenant, priority, cache, clientAddress }, a Response or undefined')
  const { arrayBuffer, status, headers } = given as Partial<Response>
  if (typeof arrayBuffer === 'function') {
    const body = await (given as Response).arrayBuffer()
    return new Response(body.byteLength === 0 ? null : body, {
      status: status ?? 500,
      headers: [...(headers ?? [])] as [string, string][],
    })
  }
  const { tenant, priority, cache, clientAddress } = given as Caller
  if (tenant !== undefined && (typeof tenant !== 'string' || tenant === ''))
    throw wrong('a tenant that is a non-empty string')
  if (priority !== undefined && !Number.isFinite(priority))
    throw wrong('a priority that is a finite number')
  if (!CACHE_MODES.includes(cache)) throw wrong('a cache that is default, reload or no-store')
  if (clientAddress !== undefined && typeof clientAddress !== 'string')
    throw wrong('a clientAddress that is a string')
  return { tenant, priority, cache, clientAddress }
}
