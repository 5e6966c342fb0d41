import { rules } from '../../core/index.js'
import { answerChat, type ChatQuestion, CREATED, readChat, toCompletion, usageOf } from './chat.js'
import { Refusal } from './errors.js'
import {
  bad,
  COUNT,
  type Fields,
  field,
  INTEGER,
  isName,
  isObject,
  NAME,
  numeric,
  TEXT,
} from './fields.js'
import { type Frames, toFrames } from './frames.js'
import { drawPng, embed, toBase64Floats, toneWav } from './media.js'
import { DEFAULTS, type Models } from './models.js'
import type { OpenRecord } from './record.js'
import { countTokens } from './text.js'

/** A complete answer, ready to send. @internal */
export interface WholeAnswer {
  readonly contentType: string
  readonly body: Buffer
  readonly model?: string
  readonly usage?: {
    readonly prompt_tokens: number
    readonly completion_tokens?: number
    readonly total_tokens: number
  }
}

/** A valid request: whether its answer is a stream, and the function that creates it. @internal */
export type Draft =
  | { readonly stream: false; make(number: number): WholeAnswer }
  | {
      readonly stream: true
      make(number: number): { readonly frames: Frames; readonly model: string }
    }

/** What a route gets of a request. @internal */
export interface Asked {
  readonly record: OpenRecord
  readonly query: URLSearchParams
  readonly models: Models
  /** The server's own address, for links to pictures. */
  readonly url: string
  readonly reply: string | undefined
  readonly words: number
  readonly wordsPerChunk: number
}

/** Maximum number of inputs per embeddings call (Pollinations gateway documentation, 2026-11). */
const MAX_INPUTS = 32

function chat(
  asked: Asked,
  question: ChatQuestion,
  bodyFor: (completion: object, content: string) => WholeAnswer,
): Draft {
  const model = asked.models.resolve(question.model)
  const answer = (number: number) =>
    answerChat(question, `chatcmpl-local-${number}`, model, asked.reply, asked.words)
  if (question.stream) {
    return {
      stream: true,
      make: (number) => ({
        model,
        frames: toFrames(answer(number), asked.wordsPerChunk, question.includeUsage),
      }),
    }
  }
  return whole((number) => {
    const answers = answer(number)
    const content = answers[0]?.content ?? ''
    return { ...bodyFor(toCompletion(answers), content), model, usage: usageOf(answers) }
  })
}

export function chatCompletion(asked: Asked): Draft {
  return chat(asked, readChat(bodyOf(asked)), json)
}

export function textByPath(asked: Asked): Draft {
  const { query } = asked
  const system = query.get('system')
  const flag = (name: string) => query.get(name)?.toLowerCase() === 'true'
  const question = readChat({
    model: query.get('model'),
    messages: [
      ...(system === null ? [] : [{ role: 'system', content: system }]),
      { role: 'user', content: promptOf(asked) },
    ],
    seed: numeric(query.get('seed')),
    temperature: numeric(query.get('temperature')),
    stream: flag('stream'),
    response_format: flag('json') ? { type: 'json_object' } : null,
  })
  const contentType = flag('json') ? 'application/json' : 'text/plain; charset=utf-8'
  return chat(asked, question, (_completion, content) => ({
    contentType,
    body: Buffer.from(content),
  }))
}

export function imageByPath(asked: Asked): Draft {
  const prompt = promptOf(asked)
  const { query, models } = asked
  const fields = {
    width: numeric(query.get('width')),
    height: numeric(query.get('height')),
    seed: numeric(query.get('seed')),
  }
  const { width, height, seed } = sizeOf(fields)
  const model = models.resolve(query.get('model') ?? DEFAULTS.image)
  return whole(() => ({
    contentType: 'image/png',
    model,
    body: drawPng(prompt, model, seed, width, height),
  }))
}

export function images(asked: Asked): Draft {
  const body = bodyOf(asked)
  const prompt = required(body, 'prompt')
  const n = field(body, 'n', rules.integer(undefined, { min: 1, max: 10 })) ?? 1
  const format =
    field(body, 'response_format', rules.oneOf(['b64_json', 'url'], undefined)) ?? 'b64_json'
  const [, across, down] = /^(\d+)x(\d+)$/.exec(field(body, 'size', TEXT) ?? '1024x1024') ?? []
  if (across === undefined || down === undefined) throw bad('size', 'must be like 1024x1024')
  const { width, height, seed } = sizeOf({
    width: Number(across),
    height: Number(down),
    seed: body.seed,
  })
  const asks = field(body, 'model', NAME) ?? DEFAULTS.image
  const model = asked.models.resolve(asks)
  const one = (index: number) => {
    const own = index === 0 ? seed : `${seed}#${index}`
    if (format === 'b64_json')
      return { b64_json: drawPng(prompt, model, own, width, height).toString('base64') }
    const link = new URLSearchParams({ model, width: String(width), height: String(height) })
    // JSON may contain lone surrogates, which a URL cannot. Converting through bytes replaces them
    // by U+FFFD.
    return {
      url: `${asked.url}/image/${encodeURIComponent(Buffer.from(prompt).toString())}?${link}`,
    }
  }
  return whole(() => {
    const data = Array.from({ length: n }, (_, index) => one(index))
    return { ...json({ created: CREATED, data }), model }
  })
}

export function audioByPath(asked: Asked): Draft {
  const voice = asked.query.get('voice') ?? DEFAULTS.voice
  return sound(asked, promptOf(asked), voice, asked.query.get('model') ?? DEFAULTS.audio)
}

export function speech(asked: Asked): Draft {
  const body = bodyOf(asked)
  field(body, 'response_format', TEXT)
  const voice = field(body, 'voice', NAME) ?? DEFAULTS.voice
  return sound(asked, required(body, 'input'), voice, field(body, 'model', NAME) ?? DEFAULTS.audio)
}

function sound(asked: Asked, text: string, voice: string, asks: string): Draft {
  const model = asked.models.resolve(asks)
  // Always a WAV, because that is the only format that needs no encoder.
  return whole(() => ({ contentType: 'audio/wav', model, body: toneWav(text, voice, model) }))
}

export function embeddings(asked: Asked): Draft {
  const body = bodyOf(asked)
  const inputs = inputsOf(body.input)
  const dimensions = field(body, 'dimensions', rules.integer(undefined, { min: 1, max: 4096 })) ?? 8
  const format =
    field(body, 'encoding_format', rules.oneOf(['float', 'base64'], undefined)) ?? 'float'
  const model = asked.models.resolve(field(body, 'model', NAME) ?? DEFAULTS.embedding)
  return whole(() => {
    const data = inputs.map((text, index) => {
      const vector = embed(String(text), model, dimensions)
      return {
        object: 'embedding',
        index,
        embedding: format === 'base64' ? toBase64Floats(vector) : vector,
      }
    })
    const tokens = inputs.reduce<number>(
      (sum, one) => sum + (typeof one === 'string' ? countTokens(one) : one.length),
      0,
    )
    const usage = { prompt_tokens: tokens, total_tokens: tokens }
    return { ...json({ object: 'list', data, model, usage }), model, usage }
  })
}

/** Normalizes the inputs: one text, one list of tokens, or a list of either. */
function inputsOf(input: unknown): readonly (string | readonly number[])[] {
  const inputs: readonly unknown[] = Array.isArray(input) && !isTokens(input) ? input : [input]
  if (inputs.length > MAX_INPUTS) throw bad('input', `may contain at most ${MAX_INPUTS} inputs`)
  if (inputs.length === 0 || !(inputs.every(isName) || inputs.every(isTokens)))
    throw bad(
      'input',
      `must be a non-empty string, a non-empty list of tokens, or a list of 1 to ${MAX_INPUTS} of one kind`,
    )
  return inputs
}

const isTokens = (input: unknown): input is readonly number[] =>
  Array.isArray(input) && input.length > 0 && input.every((token) => Number.isInteger(token))

/**
 * The prompt in a path, percent-decoded. Rejects an empty prompt, a dot segment, and invalid UTF-8.
 */
function promptOf({ record: { path } }: Asked): string {
  const encoded = path.slice(path.indexOf('/', 1) + 1)
  let prompt: string
  try {
    prompt = decodeURIComponent(encoded)
  } catch {
    throw bad('prompt', 'must be percent-encoded UTF-8')
  }
  if (prompt === '') throw bad('prompt', 'must not be empty')
  // A URL library that resolves dot segments would send the request to another path.
  if ([prompt, ...encoded.split('/')].some((part) => part === '.' || part === '..'))
    throw bad('prompt', 'must not be a dot segment')
  return prompt
}

function sizeOf(fields: Fields): { width: number; height: number; seed: string } {
  return {
    width: field(fields, 'width', COUNT) ?? 1024,
    height: field(fields, 'height', COUNT) ?? 1024,
    seed: String(field(fields, 'seed', INTEGER) ?? ''),
  }
}

export function bodyOf({ record }: Asked): Fields {
  if (!isObject(record.body)) throw new Refusal(400, 'The body must be a JSON object.')
  return record.body
}

function required(body: Fields, name: string): string {
  const value = field(body, name, NAME)
  if (value === undefined) throw bad(name, 'is missing')
  return value
}

/** A draft whose answer is not a stream. */
export const whole = (make: (number: number) => WholeAnswer): Draft => ({ stream: false, make })

export function json(value: object): WholeAnswer {
  return { contentType: 'application/json', body: Buffer.from(JSON.stringify(value)) }
}
