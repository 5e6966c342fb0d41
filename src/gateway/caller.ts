import { type CacheMode, ConfigError, isResponse } from '../core/index.js'

/** The identity of a caller, as returned by the option `call`. */
export interface Caller {
  /**
   * Id of the tenant. Cached answers and shared calls are never shared between tenants. An empty
   * string is an error, so that a failed lookup does not let anybody in without a tenant.
   * @default none
   */
  tenant?: string | undefined
  /** Priority of waiting calls, any finite number; larger ones run first. @default 0 */
  priority?: number | undefined
  /**
   * How this request uses the cache. Overrides the client's `Cache-Control`; has no effect on
   * routes that do not read the cache.
   * @default the mode that the client asks for
   */
  cache?: CacheMode | undefined
  /** Address of the client, used only in the log. @default none */
  clientAddress?: string | undefined
}

const CACHE_MODES: readonly unknown[] = ['default', 'reload', 'no-store', undefined]

/**
 * Checks the value that the option `call` returned. A `Response`, of any implementation, rejects
 * the request.
 * @throws ConfigError if the value is neither a `Response` nor a caller
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
  const { tenant, priority, cache, clientAddress, ...unknown } = given as Caller
  const [name] = Object.keys(unknown)
  if (name !== undefined)
    throw wrong(`only tenant, priority, cache and clientAddress, but got "${name.slice(0, 40)}"`)
  if (tenant !== undefined && (typeof tenant !== 'string' || tenant === ''))
    throw wrong('a tenant that is a non-empty string, or undefined')
  if (priority !== undefined && !Number.isFinite(priority))
    throw wrong('a priority that is a finite number')
  if (!CACHE_MODES.includes(cache)) throw wrong('a cache that is default, reload or no-store')
  if (clientAddress !== undefined && typeof clientAddress !== 'string')
    throw wrong('a clientAddress that is a string')
  return { tenant, priority, cache, clientAddress }
}
