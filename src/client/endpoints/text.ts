import { ANSWERED_BY, Notes, rules, type Stream } from '../../core/index.js'
import { checkPrompt, readArguments } from '../arguments.js'
import { runBatch } from '../batch/index.js'
import type { Blossom } from '../interface.js'
import type {
  BlossomCallOptions,
  ChatCompletion,
  ClientNote,
  JsonAnswer,
  TextOptions,
  TextResult,
} from '../types.js'
import { NOTE } from '../upstream.js'
import { reasonOf } from '../wire/choices.js'
import { firstChoice, textIn, usageOf } from '../wire/completion.js'
import { Outgoing } from '../wire/outgoing.js'
import { CHAT } from '../wire/shapes.js'
import { askWithHeaders, dataOf, headersIn } from './answers.js'
import type { Call } from './call.js'
import { ChatText } from './text-stream.js'

type TextFields = Pick<
  TextOptions,
  'model' | 'maxTokens' | 'temperature' | 'topP' | 'seed' | 'stop'
>

const textRules = {
  model: rules.text('openai'),
  maxTokens: rules.integer(undefined, { min: 1 }),
  temperature: rules.number(undefined, { min: 0, max: 2 }),
  topP: rules.number(undefined, { min: 0, max: 1 }),
  seed: rules.integer(undefined, {}),
  stop: rules.custom<string | readonly string[], undefined>(
    'a string or a list of strings',
    undefined,
    (value) => (Array.isArray(value) ? value : [value]).every((word) => typeof word === 'string'),
  ),
}

/** `text.generate`, `text.stream` and `text.batch`: send one user message and return the text. */
export function textEndpoints(call: Call): Blossom['text'] {
  const generate = async (prompt: string, options?: TextOptions): Promise<TextResult> => {
    const asked = readText('text.generate', prompt, options, false)
    const { meta = new Notes() } = asked.options
    const answer = await call<JsonAnswer>(asked.request, { ...asked.options, meta })
    const { attempts = 0 } = (meta.get(NOTE) ?? {}) as Partial<ClientNote>
    // No attempt means a cache hit, unless a fallback function answered.
    return resultOf(answer, attempts, attempts === 0 && !meta.has(ANSWERED_BY), headersIn(meta))
  }
  return {
    generate,
    stream: async (prompt, options) => {
      const asked = readText('text.stream', prompt, options, true)
      const { answer, headers } = await askWithHeaders<Stream<unknown>>(
        call,
        asked.request,
        asked.options,
      )
      return new ChatText(answer, headers)
    },
    batch: (prompts, options) => runBatch(generate, prompts, options),
  }
}

function readText(
  method: string,
  prompt: string,
  given: TextOptions | undefined,
  stream: boolean,
): { request: Outgoing; options: BlossomCallOptions } {
  const { fields, call: options } = readArguments<TextFields>(method, given, textRules)
  const { model, maxTokens, temperature, topP, seed, stop } = fields
  const body = {
    model,
    messages: [{ role: 'user', content: checkPrompt(method, prompt) }],
    max_tokens: maxTokens,
    temperature,
    top_p: topP,
    seed,
    stop: Array.isArray(stop) ? [...stop] : stop,
    ...(stream && { stream, stream_options: { include_usage: true } }),
  }
  return { request: new Outgoing('POST', CHAT, body, 'json', { isOurs: true }), options }
}

function resultOf(
  answer: JsonAnswer,
  attempts: number,
  cached: boolean,
  headers: TextResult['headers'],
): TextResult {
  const completion = dataOf(answer) as ChatCompletion
  const choice = (firstChoice(completion) ?? completion.choices[0]) as ChatCompletion['choices'][0]
  return {
    text: textIn(choice.message.content),
    model: completion.model,
    usage: usageOf(completion),
    finishReason: reasonOf(choice),
    requestId: answer.requestId,
    cached,
    attempts,
    headers,
  }
}
