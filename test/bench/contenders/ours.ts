import {
  type Blossom,
  breaker,
  cache,
  createBlossom,
  dedupe,
  pool,
  queue,
  retry,
  standard,
  timeout,
} from 'blossom-stack'
import { type Contender, chatRequest, DEADLINE_MS, type MakeContender } from './contender.js'
import { makePool, readAll, textOf } from './undici.js'

/** The full stack of the goals: each kind of layer once. */
export const fullStack = (width: number) =>
  [
    cache(),
    dedupe(),
    timeout({ ms: DEADLINE_MS }),
    retry(),
    breaker(),
    queue({ concurrency: width }),
    pool({ connections: width }),
  ] as const

/**
 * `standard()`, as wide as the load: one layer more, with limits on a stream's first token and on
 * its silence.
 */
export const standardStack = (width: number) =>
  standard({ queue: { concurrency: width }, pool: { connections: width } })

type AnyBlossom = Blossom<readonly unknown[]>

/** Each call has a deadline of its own. */
export function asking(client: AnyBlossom): Contender {
  const options = (signal: AbortSignal | undefined) =>
    signal ? { timeoutMs: DEADLINE_MS, signal } : { timeoutMs: DEADLINE_MS }
  return {
    call: async (prompt, signal) =>
      textOf(await client.chat.create(chatRequest(prompt) as never, options(signal))),
    stream: async (prompt, signal, onText) =>
      readAll(await client.chat.stream(chatRequest(prompt) as never, options(signal)), onText),
    running: () => {
      const { queue } = client.stats() as { queue?: { running: number } }
      return queue?.running ?? 0
    },
    close: () => client.close(),
  }
}

/** The client alone, on a pool as undici's `request()` has it. */
export const plain: MakeContender = (origin, width) => {
  const dispatcher = makePool(origin, width)
  const client = asking(createBlossom({ baseURL: origin, dispatcher }))
  return {
    ...client,
    close: async () => {
      await client.close()
      await dispatcher.destroy()
    },
  }
}
export const full: MakeContender = (origin, width) =>
  asking(createBlossom({ baseURL: origin }).use(...fullStack(width)))
export const recommended: MakeContender = (origin, width) =>
  asking(createBlossom({ baseURL: origin }).use(...standardStack(width)))
