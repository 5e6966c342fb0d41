import type { Dispatcher } from 'undici'
import {
  check,
  digest,
  type EventListener,
  LAYERS,
  type LayerEntry,
  LISTEN,
  type NestedStack,
  rules,
  STACK,
} from '../core/index.js'
import { audioEndpoints } from './endpoints/audio.js'
import type { Call } from './endpoints/call.js'
import { chatEndpoints } from './endpoints/chat.js'
import { embeddingEndpoints } from './endpoints/embeddings.js'
import { imageEndpoints } from './endpoints/image.js'
import { accountEndpoints, modelEndpoints } from './endpoints/listings.js'
import { askRaw, type RawExtras, rawEndpoint } from './endpoints/raw.js'
import { responsesEndpoints } from './endpoints/responses.js'
import { textEndpoints } from './endpoints/text.js'
import { videoEndpoints } from './endpoints/video.js'
import type { Blossom, BlossomLayer, BlossomOptions } from './interface.js'
import { LayeredClient } from './layered.js'
import { DEFAULT_BASE_URL, readBaseURL, readHeaders, readKey } from './settings.js'
import type { BlossomAnswer, BlossomCallOptions, RawRequest } from './types.js'
import { Upstream } from './upstream.js'
import { VERSION } from './version.js'

export type { Blossom, BlossomLayer, BlossomOptions } from './interface.js'

/** For the gateway: sends a request and returns JSON unparsed and streams as frames. */
export const ANSWER: unique symbol = Symbol.for('blossom-stack.answer') as never

/** Methods of a client that only the gateway uses. */
export interface ClientInternals {
  [ANSWER](
    request: RawRequest,
    options?: BlossomCallOptions,
    more?: RawExtras,
  ): Promise<BlossomAnswer>
  [LAYERS](): readonly LayerEntry[]
  [STACK](): NestedStack
  [LISTEN](listener: EventListener): () => void
}

/**
 * Creates a client for Blossom. Without layers, each call sends one request; only the size of the
 * answer is limited.
 *
 * @throws ConfigError (`CONFIG`) if an option is invalid
 * @example
 * const blossom = createBlossom({ apiKey: process.env.POLLINATIONS_API_KEY }).use(...standard())
 * const { text } = await blossom.text.generate('Hello')
 */
export function createBlossom<const Layers extends readonly BlossomLayer[]>(
  // Inline layers keep their names in the type only if the list is inferred as a tuple.
  options: Omit<BlossomOptions, 'layers'> & { layers: readonly [...Layers] },
): Blossom<Layers>
export function createBlossom<const Layers extends readonly BlossomLayer[] = readonly []>(
  options?: BlossomOptions<Layers>,
): Blossom<Layers>
export function createBlossom<const Layers extends readonly BlossomLayer[]>(
  options: BlossomOptions<Layers> = {},
): Blossom<Layers> {
  const { address, layers, onEvent, price, ...settings } = readOptions(options)
  const upstream = new Upstream({ address, ...settings })
  // A renewed key belongs to the same account, so cached answers stay valid.
  const account = typeof settings.apiKey === 'function' ? 'renewed key' : (settings.apiKey ?? '')
  const principal = digest(account, address.origin, address.prefix)
  const layered = new LayeredClient(upstream, layers as unknown as Layers, principal, {
    onEvent,
    price,
  })
  const call: Call = (request, callOptions) => layered.call(request, callOptions)

  const client: Blossom<Layers> & ClientInternals = {
    use(...more) {
      layered.use(more)
      return client as never
    },
    text: textEndpoints(call),
    chat: chatEndpoints(call),
    responses: responsesEndpoints(call),
    image: imageEndpoints(call, `${address.origin}${address.prefix}`),
    audio: audioEndpoints(call),
    video: videoEndpoints(call),
    embeddings: embeddingEndpoints(call),
    models: modelEndpoints(call),
    account: accountEndpoints(call),
    request: rawEndpoint(call),
    [ANSWER]: (request, callOptions = {}, more) => askRaw(call, request, callOptions, more),
    [LAYERS]: () => layered.entries(),
    [STACK]: () => layered.stack as NestedStack,
    [LISTEN]: (listener) => layered.listen(listener),
    stats: () => layered.stack.stats(),
    describe: () => layered.stack.describe(),
    close: (closeOptions) => layered.close(closeOptions),
    [Symbol.asyncDispose]: () => layered.close(undefined),
  }
  return client
}

function readOptions(options: object) {
  const checked = check<BlossomOptions>('createBlossom', options, {
    apiKey: { ...rules.anything<BlossomOptions['apiKey']>(), secret: true },
    baseURL: rules.anything<string>(DEFAULT_BASE_URL),
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
    notices: rules.oneOf(['error', 'pass'], 'error'),
    onEvent: rules.callback<EventListener>(),
    price: rules.callback<NonNullable<BlossomOptions['price']>>(),
    layers: rules.custom<readonly BlossomLayer[], readonly BlossomLayer[]>(
      'a list of layers',
      [],
      Array.isArray,
    ),
  })
  return {
    address: readBaseURL(checked.baseURL),
    apiKey: readKey(checked.apiKey),
    headers: [
      'user-agent',
      checked.userAgent as string,
      // Without this header a server or proxy may compress, and the client does not decompress.
      'accept-encoding',
      'identity',
      ...readHeaders(checked.headers),
    ],
    maxResponseBytes: checked.maxResponseBytes as number,
    dispatcher: checked.dispatcher,
    notices: checked.notices as 'error' | 'pass',
    onEvent: checked.onEvent,
    price: checked.price,
    layers: checked.layers ?? [],
  }
}
