import { type Dispatcher, Pool } from 'undici'
import {
  type ChatRequest,
  type Contender,
  chatRequest,
  type MakeContender,
  type OnText,
} from './contender.js'

const path = '/v1/chat/completions'
const plainHeaders = { 'content-type': 'application/json' }
const method = 'POST'

interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string } }[]
}
interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string } }[]
}

export const textOf = (answer: unknown): string =>
  (answer as Completion).choices[0]?.message.content ?? ''
export const pieceOf = (chunk: unknown): string => (chunk as Chunk).choices[0]?.delta.content ?? ''

/** Reads a stream as `for await` does. */
export async function readAll(
  chunks: AsyncIterable<unknown>,
  onText: OnText,
  pieceIn: (chunk: unknown) => string = pieceOf,
): Promise<void> {
  for await (const chunk of chunks) {
    const text = pieceIn(chunk)
    const wait = text === '' ? undefined : onText(text)
    if (wait !== undefined) await wait
  }
}

export const makePool = (origin: string, connections: number): Pool =>
  new Pool(origin, { connections })

const refusal = async ({ statusCode, body }: Dispatcher.ResponseData): Promise<Error> =>
  new Error(`Upstream answered ${statusCode}: ${(await body.text()).slice(0, 200)}`)

/** `request()` and `body.json()`: what most people write. */
export function jsonBy(pool: Pool, headers: Readonly<Record<string, string>> = plainHeaders) {
  return async (request: ChatRequest, signal?: AbortSignal): Promise<unknown> => {
    const body = JSON.stringify(request)
    const answer = await pool.request({ path, method, headers, body, ...(signal && { signal }) })
    if (answer.statusCode !== 200) throw await refusal(answer)
    return answer.body.json()
  }
}

/** `request()` and a small reader of Server-Sent Events; resolves at the head. */
export function streamBy(pool: Pool, headers: Readonly<Record<string, string>> = plainHeaders) {
  return async (
    request: ChatRequest,
    signal?: AbortSignal,
  ): Promise<AsyncGenerator<unknown, void, undefined>> => {
    const body = JSON.stringify({ ...request, stream: true })
    const answer = await pool.request({ path, method, headers, body, ...(signal && { signal }) })
    if (answer.statusCode !== 200) throw await refusal(answer)
    return readEvents(answer.body)
  }
}

async function* readEvents(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<unknown, void, undefined> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.startsWith('data: {')) yield JSON.parse(line.slice(6))
  }
}

export const undiciRequest = (
  origin: string,
  width: number,
  more?: Readonly<Record<string, string>>,
): Contender => {
  const pool = makePool(origin, width)
  const headers = more === undefined ? plainHeaders : { ...plainHeaders, ...more }
  const ask = jsonBy(pool, headers)
  const open = streamBy(pool, headers)
  return {
    call: async (prompt, signal) => textOf(await ask(chatRequest(prompt), signal)),
    stream: async (prompt, signal, onText) =>
      readAll(await open(chatRequest(prompt), signal), onText),
    close: () => pool.destroy(),
  }
}

/** The bare handler of one call, without a Readable or a body mixin in between. */
class Handler implements Dispatcher.DispatchHandler {
  readonly done: Promise<string>
  readonly #onData: ((text: string) => void) | undefined
  readonly #signal: AbortSignal | undefined
  readonly #decoder = new TextDecoder()
  readonly #abort = () => this.#controller?.abort(this.#signal?.reason as Error)
  #resolve!: (text: string) => void
  #reject!: (error: Error) => void
  #controller: Dispatcher.DispatchController | undefined
  #text = ''

  constructor(signal: AbortSignal | undefined, onData?: (text: string) => void) {
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#onData = onData
    this.#signal = signal
    signal?.addEventListener('abort', this.#abort)
  }
  onRequestStart(controller: Dispatcher.DispatchController) {
    this.#controller = controller
    if (this.#signal?.aborted) this.#abort()
  }
  onResponseStart(controller: Dispatcher.DispatchController, status: number) {
    if (status !== 200) controller.abort(new Error(`Upstream answered ${status}.`))
  }
  onResponseData(_: Dispatcher.DispatchController, bytes: Buffer) {
    const text = this.#decoder.decode(bytes, { stream: true })
    if (this.#onData === undefined) this.#text += text
    else this.#onData(text)
  }
  onResponseEnd() {
    this.#signal?.removeEventListener('abort', this.#abort)
    this.#resolve(this.#text)
  }
  onResponseError(_: Dispatcher.DispatchController, error: Error) {
    this.#signal?.removeEventListener('abort', this.#abort)
    this.#reject(error)
  }
}

const dispatched = (pool: Pool, request: object, handler: Handler): Promise<string> => {
  const body = JSON.stringify(request)
  pool.dispatch({ path, method, headers: plainHeaders, body }, handler)
  return handler.done
}

/** The whole body of an answer or a stream as it came: the cheapest client there is. */
export const bodyBy =
  (pool: Pool) =>
  (request: object, signal?: AbortSignal): Promise<string> =>
    dispatched(pool, request, new Handler(signal))

/** The lower bound: one promise a call, and pieces by callback. */
export const undiciDispatch: MakeContender = (origin, width) => {
  const pool = makePool(origin, width)
  const ask = bodyBy(pool)
  return {
    call: async (prompt, signal) => textOf(JSON.parse(await ask(chatRequest(prompt), signal))),
    stream: async (prompt, signal, onText) => {
      let rest = ''
      const handler = new Handler(signal, (part) => {
        const lines = (rest + part).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) {
          const text = line.startsWith('data: {') ? pieceOf(JSON.parse(line.slice(6))) : ''
          if (text !== '') onText(text)
        }
      })
      await dispatched(pool, { ...chatRequest(prompt), stream: true }, handler)
    },
    close: () => pool.destroy(),
  }
}
