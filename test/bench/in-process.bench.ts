import { type BlossomLayer, breaker, cache, dedupe, pool, queue, retry, stack, timeout } from 'blossom-stack'
import { inTurn, seconds } from './rounds.js'

export const title = 'what layers cost around a function that does nothing, one call after the other (µs a call)'

const CALLS = 30_000
const noop = async (request: { id: number }) => request.id

const all = (): BlossomLayer[] => [
  cache({ maxEntries: 1_000 }),
  dedupe(),
  timeout({ ms: 60_000 }),
  retry(),
  breaker(),
  queue(),
  timeout({ ms: 30_000, name: 'attempt' }),
  pool(),
]
const cost = (call: (i: number) => Promise<unknown>) => async () => ((await seconds(CALLS, 1, call)) / CALLS) * 1e6

export async function run() {
  const one = (layer: BlossomLayer) => stack(noop, layer as never)
  const stacks = {
    'stack without layers': stack(noop),
    timeout: one(timeout({ ms: 60_000 })),
    retry: one(retry()),
    breaker: one(breaker()),
    queue: one(queue()),
    pool: one(pool()),
    dedupe: one(dedupe()),
    'cache (misses)': one(cache()),
    'six policies, no keys': stack(noop, ...(all().slice(2) as never[])),
    'all eight': stack(noop, ...(all() as never[])),
  }
  const full = stack(noop, ...(all() as never[]))
  const hit = one(cache())
  return await inTurn('µs', 5, {
    'the function alone': cost((id) => noop({ id })),
    ...Object.fromEntries(Object.entries(stacks).map(([name, ask]) => [name, cost((id) => ask({ id }))])),
    'all eight, deadline': cost((id) => full({ id }, { timeoutMs: 60_000 })),
    'all eight, fresh signal': cost((id) => full({ id }, { signal: new AbortController().signal })),
    'cache (hits)': cost(() => hit({ id: 1 })),
  })
}
