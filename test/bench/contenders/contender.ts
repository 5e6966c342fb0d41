import { ANSWER, PIECE, PIECES } from '../upstream-answers.js'

export interface ChatRequest {
  readonly model: string
  readonly messages: readonly { readonly role: 'user'; readonly content: string }[]
}

export const chatRequest = (content: string): ChatRequest => ({
  model: 'openai',
  messages: [{ role: 'user', content }],
})

/** A promise makes the reader wait; what it throws makes him leave. */
export type OnText = (text: string) => void | Promise<void>

/** One way of asking upstream. */
export interface Contender {
  /** Gives the answer's text. */
  call(prompt: string, signal?: AbortSignal): Promise<string>
  /** Gives each piece of text to `onText`, and resolves at the end. */
  stream(prompt: string, signal: AbortSignal | undefined, onText: OnText): Promise<void>
  /** Calls that hold their place, where somebody counts them. */
  running?(): number
  close(): unknown
}

/** `width`: how many calls it has to be ready for at once. */
export type MakeContender = (origin: string, width: number) => Contender

/** How long a call may take, for all who can be told. */
export const DEADLINE_MS = 60_000

/** Makes a contender, and has it show once that it brings the right text, whole and as a stream. */
export async function proven(
  make: MakeContender,
  origin: string,
  width: number,
): Promise<Contender> {
  const contender = make(origin, width)
  await proveCalls(contender)
  await proveStreams(contender)
  return contender
}

export async function proveCalls({ call }: Contender): Promise<void> {
  for (const signal of [undefined, new AbortController().signal]) {
    const text = await call(`Show that you work ${signal ? 'with' : 'without'} a signal`, signal)
    if (text !== ANSWER) throw new Error(`It answered ${JSON.stringify(text)}.`)
  }
}

async function proveStreams({ stream }: Contender): Promise<void> {
  let streamed = ''
  await stream('Show that you work', undefined, (piece) => {
    streamed += piece
  })
  if (streamed !== PIECE.repeat(PIECES))
    throw new Error(`It streamed ${streamed.length} characters.`)
}
