/**
 * Counts what one call makes, in a process of its own with the flags of `COUNTING`. Prints one line
 * of JSON, as `Counts` by scenario.
 */
import { createHook } from 'node:async_hooks'
import { createBlossom, stack } from 'blossom-stack'
import { bytesPerCall } from './allocation.js'
import { chatRequest, DEADLINE_MS } from './contenders/contender.js'
import { asking, fullStack } from './contenders/ours.js'
import { freshPrompt } from './load.js'
import { ANSWER, PIECES } from './upstream-answers.js'
import { startUpstream } from './upstream-process.js'

/** All for one call (or one chunk), what the caller's own `await` makes included. */
export interface Counts {
  readonly bytes: number
  readonly promises: number
  readonly timers: number
  readonly controllers: number
  /** `AbortSignal.any()` and `AbortSignal.timeout()`. */
  readonly signals: number
  readonly listenersAdded: number
  readonly listenersRemoved: number
  readonly requests: number
}

const seen = {
  promises: 0,
  timers: 0,
  controllers: 0,
  signals: 0,
  listenersAdded: 0,
  listenersRemoved: 0,
}

/** The caller's own are made with this one, and not counted. */
const CallersController = AbortController
globalThis.AbortController = class extends CallersController {
  constructor() {
    super()
    seen.controllers++
  }
}
for (const name of ['any', 'timeout'] as const) {
  const make = AbortSignal[name] as (value: never) => AbortSignal
  AbortSignal[name] = (value: never) => {
    seen.signals++
    return make.call(AbortSignal, value)
  }
}
for (const [name, count] of [
  ['addEventListener', 'listenersAdded'],
  ['removeEventListener', 'listenersRemoved'],
] as const) {
  const original = EventTarget.prototype[name] as (...args: unknown[]) => void
  AbortSignal.prototype[name] = function (...args: unknown[]) {
    seen[count]++
    return original.apply(this, args)
  }
}
const hook = createHook({
  init: (_, type) => {
    if (type === 'PROMISE') seen.promises++
    else if (type === 'Timeout') seen.timers++
  },
})

async function count(
  calls: number,
  each: number,
  call: () => Promise<unknown>,
  requests: () => Promise<number> | number,
): Promise<Counts> {
  const bytes = (await bytesPerCall(calls, call)) / each
  const before = await requests()
  const start = { ...seen }
  hook.enable()
  for (let i = 0; i < calls; i++) await call()
  hook.disable()
  const made = Object.entries(start).map(([name, value]) => [
    name,
    (seen[name as keyof typeof seen] - value) / calls / each,
  ])
  return {
    bytes,
    ...(Object.fromEntries(made) as unknown as Omit<Counts, 'bytes' | 'requests'>),
    requests: ((await requests()) - before) / calls,
  }
}

const right = (found: boolean) => {
  if (!found) throw new Error('It did not bring the answer.')
}
const upstream = await startUpstream()
const ask = stack(async (_: unknown) => ANSWER, ...(fullStack(4) as unknown as never[]))
const client = asking(createBlossom({ baseURL: upstream.origin }).use(...fullStack(4)))
const none = () => 0
const sent = async () => (await upstream.seen()).requests

const scenarios: Record<string, Counts> = {
  'around a no-op': await count(
    1_000,
    1,
    async () =>
      right((await ask(chatRequest(freshPrompt()), { timeoutMs: DEADLINE_MS })) === ANSWER),
    none,
  ),
  "around a no-op, with a caller's signal": await count(
    1_000,
    1,
    async () => {
      const { signal } = new CallersController()
      right((await ask(chatRequest(freshPrompt()), { timeoutMs: DEADLINE_MS, signal })) === ANSWER)
    },
    none,
  ),
  'a call upstream': await count(
    500,
    1,
    async () => right((await client.call(freshPrompt())) === ANSWER),
    sent,
  ),
  "a call upstream, with a caller's signal": await count(
    1_500,
    1,
    async () =>
      right((await client.call(freshPrompt(), new CallersController().signal)) === ANSWER),
    sent,
  ),
  'a chunk of a stream': await count(
    30,
    PIECES + 2,
    async () => {
      let pieces = 0
      await client.stream(freshPrompt(), undefined, () => {
        pieces++
      })
      right(pieces === PIECES)
    },
    sent,
  ),
}
process.stdout.write(JSON.stringify(scenarios))
await client.close()
await ask.close()
upstream.close()
process.exit(0)
