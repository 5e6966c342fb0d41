import type { Dispatcher } from 'undici'
import {
  type AnswerStream,
  base,
  ConfigError,
  type Context,
  check,
  composeStack,
  digest,
  type EventListener,
  LAYERS,
  type LayerEntry,
  type LayerOf,
  Notes,
  rules,
  type Stack,
  ValidationError,
} from '../core/index.js'
import { Agents } from './agents.js'
import { bringsKey, checkPath, checkPrompt, entriesOf, readArguments } from './arguments.js'
import { runBatch } from './batch/index.js'
import { imagePath, imageRules } from './endpoints/image.js'
import { ChatText } from './endpoints/text-stream.js'
import { ProtocolError } from './errors.js'
import type { Blossom, BlossomLayer, BlossomOptions } from './interface.js'
import { readBaseURL, readHeaders, readKey } from './settings.js'
import { clientTraits } from './traits.js'
import type {
  BlossomAnswer,
  BlossomCallOptions,
  BytesAnswer,
  BytesResult,
  ChatBody,
  ChatCompletion,
  ClientNote,
  EmbeddingOptions,
  EmbeddingResult,
  ImageFields,
  JsonAnswer,
  Model,
  RawRequest,
  SpeechOptions,
  TextOptions,
  TextResult,
} from './types.js'
import { VERSION } from './version.js'
import { usageOf } from './wire/completion.js'
import { Exchange } from './wire/exchange.js'
import { isRecord } from './wire/json.js'
import { Outgoing } from './wire/outgoing.js'
import { embeddingsIn, modelsIn } from './wire/shapes.js'

export type { Blossom, BlossomLayer, BlossomOptions } from './interface.js'

/**
 * Makes a client. Without layers it is a plain one: one request for each call, no limits but its
 * own sizes.
 *
 * @throws ConfigError for a wrong option
 * @example
 * const blossom = createBlossom({ apiKey: process.env.POLLINATIONS_API_KEY }).use(...standard())
 * const { text } = await blossom.text.generate('Hello')
 */
export function createBlossom<const Layers extends readonly BlossomLayer[]>(
  // Layers made in place keep their names in the type only when the list is matched as a tuple.
  options: Omit<BlossomOptions, 'layers'> & { layers: readonly [...Layers] },
): Blossom<Layers>
export function createBlossom<const Layers extends readonly BlossomLayer[] = readonly []>(
  options?: BlossomOptions<Layers>,
): Blossom<Layers>
export function createBlossom<const Layers extends readonly BlossomLayer[]>(
  options: BlossomOptions<Layers> = {},
): Blossom<Layers> {
  const checked = check<BlossomOptions>('createBlossom', options, {
    apiKey: { ...rules.anything<string>(), secret: true },
    baseURL: rules.anything<string>('https://gen.pollinations.ai'),
    headers: rules.anything<Readonly<Record<string, string>>>(),
    dispatcher: rules.custom<Dispatcher, undefined>(
      'an undici Dispatcher',
      undefined,
      (value) => typeof (value as Partial<Dispatcher> | null)?.dispatch === 'function',
    ),
    userAgent: rules.custom(
      'one line of printable ASCII',
      `blossom-stack/${VERSION}`,
      (value) => typeof value === 'string' && /^[\x20-\x7e]+$/.test(value),
    ),
    maxResponseBytes: rules.integer(32 * 1024 * 1024, { min: 1 }),
    onEvent: rules.callback<EventListener>(),
    layers: rules.custom<readonly BlossomLayer[], readonly BlossomLayer[]>(
      'a list of layers',
      [],
      Array.isArray,
    ),
  })
  const apiKey = readKey(checked.apiKey)
  const { dispatcher, layers = [] } = checked
  const maxResponseBytes = checked.maxResponseBytes as number
  const address = readBaseURL(checked.baseURL)
  const extra = ['user-agent', checked.userAgent as string, ...readHeaders(checked.headers)]

  const agents = new Agents(dispatcher)

  const send = (request: Outgoing, context: Context): Promise<BlossomAnswer> => {
    const { transport } = context
    const { origin, prefix } =
      transport?.baseURL === undefined ? address : readBaseURL(transport.baseURL)
    // The client's own key is for its own address; a member at another one brings its own.
    const key = request.key ?? transport?.apiKey ?? (origin === address.origin ? apiKey : undefined)
    const note = noteOf(context)
    note.attempts++
    const exchange = new Exchange(request, context, { maxResponseBytes, apiKey: key }, note)
    if (!context.cancel.aborted) {
      const headers = key === undefined ? [...extra] : ['authorization', `Bearer ${key}`, ...extra]
      if (request.payload !== undefined) headers.push('content-type', 'application/json')
      const path = prefix + request.path
      agents.carrierOf(transport).dispatch(
        {
          origin,
          path,
          method: request.method as Dispatcher.HttpMethod,
          headers,
          body: request.payload ?? null,
        },
        exchange,
      )
    }
    return exchange.answer
  }
  const principal = digest(apiKey ?? '', address.origin, address.prefix)
  Object.defineProperty(send, 'name', { value: 'blossom' })
  const foundation = base(send, { ...clientTraits(principal), onEvent: checked.onEvent })

  const groups: (readonly BlossomLayer[])[] = [layers]
  let stack: Stack<Outgoing, BlossomAnswer, Layers> | undefined
  const compose = () => {
    stack ??= composeStack<Outgoing, BlossomAnswer, Layers>(
      foundation,
      groups as unknown as LayerOf<Outgoing, BlossomAnswer>[][],
    )
    return stack
  }
  const call = <Answer>(request: Outgoing, options: BlossomCallOptions): Promise<Answer> => {
    // All but the key is for the stack to check.
    if (!bringsKey(options)) return compose()(request, options) as Promise<Answer>
    const { apiKey: visitors, ...rest } = Object.fromEntries(entriesOf('The call', options))
    return compose()(
      visitors === undefined ? request : request.paidBy(visitors),
      rest,
    ) as Promise<Answer>
  }

  const chatBody = (method: string, body: ChatBody, stream: boolean): Outgoing => {
    if (!isRecord(body) || !Array.isArray(body.messages) || body.messages.length === 0) {
      throw new ValidationError(
        `${method}: the body must be an object with a list of at least one message.`,
      )
    }
    if (body.stream !== undefined && body.stream !== stream) {
      throw new ValidationError(
        `${method}: leave \`stream\` out of the body; use chat.${stream ? 'create' : 'stream'} for the other form.`,
      )
    }
    // A conversation that grows while its call waits must not change what the call is known by.
    const messages = [...body.messages]
    return new Outgoing(
      'POST',
      '/v1/chat/completions',
      stream ? { ...body, messages, stream } : { ...body, messages },
      'json',
    )
  }
  const textBody = (
    method: string,
    prompt: string,
    options: TextOptions | undefined,
    stream: boolean,
  ) => {
    const { fields, call } = readArguments<TextFields>(method, options, textRules)
    const { model, maxTokens, temperature, topP, seed, stop } = fields
    const messages = [{ role: 'user', content: checkPrompt(method, prompt) }]
    const body = {
      model,
      messages,
      max_tokens: maxTokens,
      temperature,
      top_p: topP,
      seed,
      stop: Array.isArray(stop) ? [...stop] : stop,
    }
    const streamed = stream ? { ...body, stream, stream_options: { include_usage: true } } : body
    return { request: new Outgoing('POST', '/v1/chat/completions', streamed, 'json', true), call }
  }

  const generate = async (prompt: string, options?: TextOptions): Promise<TextResult> => {
    const { request, call: callOptions } = textBody('text.generate', prompt, options, false)
    const { meta = new Notes() } = callOptions
    const { data, requestId } = await call<JsonAnswer>(request, { ...callOptions, meta })
    const completion = data as ChatCompletion
    const { message, finish_reason } = completion.choices[0]!
    const { content } = message
    const attempts = (meta.get(NOTE) as ClientNote | undefined)?.attempts ?? 0
    return {
      text: typeof content === 'string' ? content : '',
      model: completion.model,
      usage: usageOf(completion),
      finishReason: finish_reason ?? undefined,
      requestId,
      cached: attempts === 0,
      attempts,
    }
  }

  let closing: Promise<void> | undefined
  const shut = async (closed: Promise<void>): Promise<void> => {
    await closed
    await agents.close()
  }

  const client: Blossom<Layers> & { [LAYERS](): readonly LayerEntry[] } = {
    use(...more) {
      if (stack !== undefined)
        throw new ConfigError(
          'use: the client has been used already; add its layers before the first call, stats() or describe().',
        )
      if (more.some((layer) => typeof layer !== 'function')) {
        throw new ConfigError(
          'use: a layer must be a function, as retry() gives; a list of them is spread: use(...standard()).',
        )
      }
      groups.push(more)
      return client as never
    },
    text: {
      generate,
      stream: async (prompt, options) => {
        const { request, call: callOptions } = textBody('text.stream', prompt, options, true)
        return new ChatText(await call<AnswerStream<unknown>>(request, callOptions))
      },
      batch: (prompts, options) => runBatch(generate, prompts, options),
    },
    chat: {
      create: async (body, options = {}) =>
        (await call<JsonAnswer>(chatBody('chat.create', body, false), options))
          .data as ChatCompletion,
      stream: async (body, options = {}) => call(chatBody('chat.stream', body, true), options),
    },
    image: {
      generate: async (prompt, options) => {
        const { fields, call: callOptions } = readArguments<ImageFields>(
          'image.generate',
          options,
          imageRules,
        )
        return bytesOf(
          await call<BytesAnswer>(
            new Outgoing('GET', imagePath('image.generate', prompt, fields), undefined, 'bytes'),
            callOptions,
          ),
        )
      },
      url: (prompt, options) => {
        const fields = check<ImageFields>(
          'image.url',
          options,
          imageRules,
          (sentence) => new ValidationError(sentence),
        )
        return `${address.origin}${address.prefix}${imagePath('image.url', prompt, fields)}`
      },
    },
    audio: {
      speech: async (text, options) => {
        const { fields, call: callOptions } = readArguments<SpeechFields>(
          'audio.speech',
          options,
          speechRules,
        )
        const { model, voice, responseFormat, speed } = fields
        const body = {
          model,
          input: checkPrompt('audio.speech', text),
          voice,
          response_format: responseFormat,
          speed,
        }
        return bytesOf(
          await call<BytesAnswer>(
            new Outgoing('POST', '/v1/audio/speech', body, 'bytes'),
            callOptions,
          ),
        )
      },
    },
    embeddings: {
      create: async (input, options) => {
        const { fields, call: callOptions } = readArguments<EmbeddingFields>(
          'embeddings.create',
          options,
          embeddingRules,
        )
        if (typeof input !== 'string' && (!Array.isArray(input) || input.length === 0))
          throw new ValidationError(
            'embeddings.create: the input must be a string or a list of strings.',
          )
        // A copy: a caller's list may change while a batcher waits for more.
        const inputs: string | string[] = typeof input === 'string' ? input : [...input]
        for (const item of [inputs].flat()) checkPrompt('embeddings.create', item)
        const body = {
          model: fields.model,
          input: inputs,
          dimensions: fields.dimensions,
          encoding_format: 'float',
        }
        const { data } = await call<JsonAnswer>(
          new Outgoing('POST', '/v1/embeddings', body, 'json'),
          callOptions,
        )
        return embeddingsOf(data, typeof inputs === 'string' ? 1 : inputs.length)
      },
    },
    models: {
      list: async (options = {}) => {
        const { data } = await call<JsonAnswer>(
          new Outgoing('GET', '/v1/models', undefined, 'json'),
          options,
        )
        const list = modelsIn(data)
        if (list === undefined)
          throw new ProtocolError('Upstream answered with something other than a list of models.')
        return list as Model[]
      },
    },
    account: {
      balance: async (options = {}) => {
        const { data } = await call<JsonAnswer>(
          new Outgoing('GET', '/account/balance', undefined, 'json'),
          options,
        )
        if (!isRecord(data) || typeof data.balance !== 'number')
          throw new ProtocolError('Upstream answered with something other than a balance.')
        return { balance: data.balance }
      },
    },
    request: async <Answer>(raw: RawRequest, options: BlossomCallOptions = {}) => {
      const { method, path, body } = check<RawRequest>(
        'request',
        raw,
        rawRules,
        (sentence) => new ValidationError(sentence),
      )
      const request = new Outgoing(
        method ?? (body === undefined ? 'GET' : 'POST'),
        checkPath(path),
        body,
        'any',
      )
      const answer = await call<BlossomAnswer>(request, options)
      if ('data' in answer) return answer.data as Answer
      return ('bytes' in answer ? bytesOf(answer) : answer) as Answer
    },
    [LAYERS]: () => (compose() as unknown as { [LAYERS](): readonly LayerEntry[] })[LAYERS](),
    stats: () => compose().stats(),
    describe: () => compose().describe(),
    close: (options) => {
      try {
        closing ??= shut(compose().close(options))
      } catch (error) {
        return Promise.reject(error)
      }
      return closing
    },
    [Symbol.asyncDispose]: () => client.close(),
  }
  return client
}

type TextFields = Pick<
  TextOptions,
  'model' | 'maxTokens' | 'temperature' | 'topP' | 'seed' | 'stop'
>
type SpeechFields = Pick<SpeechOptions, 'model' | 'voice' | 'responseFormat' | 'speed'>
type EmbeddingFields = Pick<EmbeddingOptions, 'model' | 'dimensions'>

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
const speechRules = {
  model: rules.text(undefined),
  voice: rules.text('alloy'),
  responseFormat: rules.text(undefined),
  speed: rules.number(undefined, { min: 0.25, max: 4 }),
}
const embeddingRules = {
  model: rules.text(undefined),
  dimensions: rules.integer(undefined, { min: 1, max: 65_536 }),
}
const rawRules = {
  method: rules.oneOf(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'], undefined),
  path: rules.required(rules.anything<string>()) as rules.Rule<string>,
  body: rules.custom<Readonly<Record<string, unknown>>, undefined>(
    'an object',
    undefined,
    isRecord,
  ),
}

const NOTE = 'client'

function noteOf(context: Context): ClientNote {
  let note = context.meta.get(NOTE) as ClientNote | undefined
  if (note === undefined) {
    note = { attempts: 0, requestId: undefined }
    context.meta.set(NOTE, note)
  }
  return note
}

const bytesOf = ({ bytes, contentType }: BytesAnswer): BytesResult => ({ bytes, contentType })

function embeddingsOf(data: unknown, expected: number): EmbeddingResult {
  const embeddings = embeddingsIn(data, expected, true)
  if (embeddings === undefined)
    throw new ProtocolError(
      'Upstream answered with something other than one embedding for each input.',
    )
  return {
    embeddings: embeddings as number[][],
    model: String((data as { model?: unknown }).model ?? ''),
    usage: usageOf(data),
  }
}
