import { type Context, defineLayer, type Handler } from '../../src/core/index.js'
import {
  createGateway,
  type Gateway,
  type GatewayOptions,
  type RequestLog,
} from '../../src/gateway/index.js'
import { type Blossom, type BlossomLayer, createBlossom } from '../../src/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import {
  type LocalBlossom,
  type LocalBlossomOptions,
  startLocalBlossom,
} from '../../src/testing/index.js'
import { type Gate, gate } from './gate.js'
import { type Answer, type Ask, ask, type Visit, visit } from './http-client.js'
import { type Framework, frameworks, listen, type Surroundings } from './http-frameworks.js'
import { KEY } from './secrets.js'
import { turn } from './watch.js'

export interface SiteOptions {
  upstream?: LocalBlossomOptions
  /** Given the site's gate, for layers that wait for it. @default a whole stack with short waits */
  layers?: (gate: Gate) => readonly BlossomLayer[]
  gateway?: GatewayOptions<never> | ((framework: Framework) => GatewayOptions<never>)
  around?: Surroundings
  /** @default the usual test key */
  apiKey?: string | undefined
}

/** A server of one framework with the gateway in it, before an upstream of its own. */
export interface Site extends AsyncDisposable {
  readonly framework: Framework
  readonly url: string
  readonly upstream: LocalBlossom
  readonly blossom: Blossom<readonly unknown[]>
  readonly gateway: Gateway<never>
  /** For whatever in the site waits until the test says so. */
  readonly gate: Gate
  readonly log: readonly RequestLog[]
  /** What `onError` was told. */
  readonly errors: readonly unknown[]
  ask(path: string, what?: Ask): Promise<Answer>
  visit(path: string, what?: Ask): Promise<Visit>
  /** Resolves as soon as the log has so many entries. */
  logged(entries: number): Promise<void>
}

/**
 * Every kind of layer in the recommended order. Nothing waits long, and the breaker needs five
 * calls.
 */
export const wholeStack = (): BlossomLayer[] => [
  cache(),
  dedupe(),
  timeout({ ms: 5_000 }),
  retry({ retries: 2, minDelayMs: 1, maxDelayMs: 1, maxRetryAfterMs: 100, budget: false }),
  breaker({ minimumCalls: 5 }),
  queue({ concurrency: 5, maxWaiting: 100 }),
  timeout({ name: 'attempt', ms: 5_000 }),
  pool({ connections: 10 }),
]

/** The same, and no request leaves for upstream before the gate is open. */
export const heldStack = (gate: Gate): BlossomLayer[] => [
  ...wholeStack(),
  defineLayer({
    name: 'held',
    wrap: (next: Handler<never, never>) => async (request: never, context: Context) => {
      await gate.promise
      return next(request, context)
    },
  }) as unknown as BlossomLayer,
]

/** Looks again at every turn of the event loop until the value is as wanted. */
export async function until<T>(
  read: () => T | Promise<T>,
  wanted: (value: T) => boolean,
): Promise<T> {
  for (;;) {
    const value = await read()
    if (wanted(value)) return value
    await turn()
  }
}

export async function openSite(framework: Framework, options: SiteOptions = {}): Promise<Site> {
  const { layers = wholeStack, around = {} } = options
  const held = gate()
  const upstream = await startLocalBlossom({ keys: [KEY], ...options.upstream })
  const blossom = createBlossom({
    apiKey: 'apiKey' in options ? options.apiKey : KEY,
    baseURL: upstream.url,
  }).use(...layers(held))
  const log: RequestLog[] = []
  const errors: unknown[] = []
  const waiting: { entries: number; resolve: () => void }[] = []
  const given = typeof options.gateway === 'function' ? options.gateway(framework) : options.gateway
  const gateway = createGateway<never>(blossom, {
    log: (entry) => {
      log.push(entry)
      for (const { entries, resolve } of waiting) if (log.length >= entries) resolve()
    },
    onError: (error) => void errors.push(error),
    ...(around.mount !== undefined && { prefix: framework.prefix(around.mount) }),
    ...given,
  })
  const server = await listen(framework.listener(gateway, around))
  const { url } = server
  return {
    framework,
    url,
    upstream,
    blossom,
    gateway,
    gate: held,
    log,
    errors,
    ask: (path, what) => ask(url, path, what),
    visit: (path, what) => visit(url, path, what),
    logged: (entries) =>
      log.length >= entries
        ? Promise.resolve()
        : new Promise((resolve) => waiting.push({ entries, resolve })),
    async [Symbol.asyncDispose]() {
      await server.close()
      await gateway.close({ timeoutMs: 0 })
      await blossom.close({ timeoutMs: 0 })
      await upstream.close()
    },
  }
}

/** A site of each framework, for tests that leave them as they were. */
export const openEach = (options: SiteOptions = {}): Promise<Site[]> =>
  Promise.all(frameworks.map((framework) => openSite(framework, options)))

export const closeAll = (sites: readonly Site[]): Promise<unknown> =>
  Promise.all(sites.map((site) => site[Symbol.asyncDispose]()))

/**
 * Does the same with a site of each framework, those given or new ones, and gives what came of it.
 * @throws when it was not the same from each: framework code must add nothing that could differ
 */
export async function sameFromEach<T>(
  where: SiteOptions | readonly Site[],
  what: (site: Site) => Promise<T>,
): Promise<T> {
  const given = Array.isArray(where) ? (where as readonly Site[]) : undefined
  const sites = given ?? (await openEach(where as SiteOptions))
  let outcomes: { name: string; outcome: T }[]
  try {
    outcomes = await Promise.all(
      sites.map(async (site) => ({ name: site.framework.name, outcome: await what(site) })),
    )
  } finally {
    if (given === undefined) await closeAll(sites)
  }
  const [first, ...others] = outcomes.map(({ name, outcome }) => ({
    name,
    outcome,
    shown: withoutIds(JSON.stringify(outcome, null, 1) ?? ''),
  }))
  for (const { name, shown } of others) {
    if (shown !== first!.shown)
      throw new Error(`${name} differs from ${first!.name}: ${shown} instead of ${first!.shown}`)
  }
  return first!.outcome
}

/** Headers that say nothing of the gateway, or something else each time. */
const NOT_COMPARED = [
  'date',
  'connection',
  'keep-alive',
  'content-length',
  'transfer-encoding',
  'content-encoding',
]

export interface Comparable {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  readonly body: any
}

/** An answer without what differs from one time to the next: ids and times become words. */
export function comparable({ status, headers, text, json }: Answer): Comparable {
  const kept = Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !NOT_COMPARED.includes(name))
      .map(([name, value]) => [name, shapeOf(name, String(value))] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
  return {
    status,
    headers: kept,
    body: json === undefined ? withoutIds(text) : JSON.parse(withoutIds(JSON.stringify(json))),
  }
}

/** A site whose upstream answers with this. */
export const said = (text: string): SiteOptions => ({ upstream: { reply: () => text } })

/** One request to each framework, and what all of them answer. */
export const answerOf = (path: string, what: Ask, options: SiteOptions = {}) =>
  sameFromEach(options, async (site) => comparable(await site.ask(path, what)))

/** What every answer that is data carries. */
export const everyHeader = {
  'content-type': 'application/json; charset=utf-8',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-request-id': 'an id',
  'x-process-time': 'seconds',
}

function shapeOf(name: string, value: string): string {
  if (name === 'x-request-id') return /^[\w-]{8,64}$/.test(value) ? 'an id' : value
  if (name === 'x-process-time') return /^\d+\.\d{4}$/.test(value) ? 'seconds' : value
  if (name === 'server-timing') return value.replace(/dur=\d+\.\d/g, 'dur=ms')
  return withoutIds(value)
}

const withoutIds = (text: string): string =>
  text
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replace(/("uptime_seconds": ?)[\d.]+/g, '$1"SECONDS"')
    .replace(/after \d+ ms/g, 'after MS ms')
    .replace(/in \d+ ms, too late/g, 'in MS ms, too late')
    .replace(/127\.0\.0\.1:\d+/g, 'HOST')
