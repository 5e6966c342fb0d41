import { isRecord, now } from '../../core/index.js'
import type { RouteCall, RouteTools } from '../routes/route.js'

/** How long the list is cached, and the delay after a failure. Milliseconds. */
const KEPT_MS = 5 * 60_000
const FAILED_MS = 30_000
/** Time limit for fetching the list, which no call waits for. Milliseconds. */
const TIMEOUT_MS = 10_000

/**
 * Upstream's list of models and their capabilities. No call waits for it: if it is missing or old,
 * it is fetched in the background, and the call uses what is known.
 */
export class ModelList {
  readonly #closing = new AbortController()
  #rows: ReadonlyMap<string, Readonly<Record<string, unknown>>> = new Map()
  #until = Number.NEGATIVE_INFINITY
  #isAsking = false

  /** Whether the list says that a model is served at a path such as `/v1/responses`. */
  serves(model: unknown, path: string, call: RouteCall['call'], tools: RouteTools): boolean {
    this.#renew(call, tools)
    const endpoints = this.#row(model)?.supported_endpoints
    return Array.isArray(endpoints) && endpoints.includes(path)
  }

  /** Whether the list says that a model accepts a parameter; `undefined` if it does not say. */
  takes(model: unknown, parameter: string): boolean | undefined {
    const parameters = this.#row(model)?.supported_parameters
    return Array.isArray(parameters) ? parameters.includes(parameter) : undefined
  }

  /** Aborts a running fetch. */
  close(): void {
    this.#closing.abort()
  }

  #row(model: unknown): Readonly<Record<string, unknown>> | undefined {
    return typeof model === 'string' ? this.#rows.get(model) : undefined
  }

  #renew({ tenant }: RouteCall['call'], tools: RouteTools): void {
    if (this.#isAsking || now() < this.#until || tools.isDraining()) return
    this.#isAsking = true
    const { signal } = this.#closing
    tools.blossom.models
      .list({
        signal,
        timeoutMs: TIMEOUT_MS,
        cache: 'no-store',
        priority: -1,
        // Count the fetch against the tenant's limits.
        ...(tenant !== undefined && { tenant }),
      })
      .then(
        (rows) => this.#learn(rows),
        () => this.#forget(),
      )
      .finally(() => {
        this.#isAsking = false
      })
  }

  #learn(rows: readonly unknown[]): void {
    const known = new Map<string, Readonly<Record<string, unknown>>>()
    for (const row of rows) {
      if (!isRecord(row)) continue
      for (const name of [row.aliases, row.id].flat())
        if (typeof name === 'string') known.set(name, row)
    }
    this.#rows = known
    this.#until = now() + KEPT_MS
  }

  #forget(): void {
    this.#rows = new Map()
    this.#until = now() + FAILED_MS
  }
}
