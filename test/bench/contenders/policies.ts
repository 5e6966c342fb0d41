import { type Around, byHand, cockatiel } from './around.js'
import { type ChatRequest, chatRequest, type MakeContender } from './contender.js'
import { jsonBy, makePool, readAll, streamBy, textOf } from './undici.js'

/**
 * Policies around undici's `request()`. Their streams are handed out at the head: no policy knows
 * how a stream ends.
 */
const over =
  ({ ask }: Around): MakeContender =>
  (origin, width) => {
    const pool = makePool(origin, width)
    const json = jsonBy(pool)
    const open = streamBy(pool)
    const call = ask((request, signal) => json(request as ChatRequest, signal), width)
    const stream = ask((request, signal) => open(request as ChatRequest, signal), width, {
      streams: true,
    })
    return {
      call: async (prompt, signal) => textOf(await call(chatRequest(prompt), signal)),
      stream: async (prompt, signal, onText) =>
        readAll(await stream(chatRequest(prompt), signal), onText),
      close: () => pool.destroy(),
    }
  }

export const overByHand = over(byHand)
export const overCockatiel = over(cockatiel)
