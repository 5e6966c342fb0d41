import {
  type BaseTraits,
  base,
  type CloseOptions,
  ConfigError,
  type Context,
  composeStack,
  type EventListener,
  LAYERS,
  type LayerEntry,
  type LayerOf,
  LISTEN,
  type Stack,
} from '../core/index.js'
import { bringsKey, entriesOf } from './arguments.js'
import type { BlossomLayer } from './interface.js'
import { clientTraits } from './traits.js'
import type { BlossomAnswer, BlossomCallOptions } from './types.js'
import type { Upstream } from './upstream.js'
import type { Outgoing } from './wire/outgoing.js'

/** Methods of a stack that only this library uses. */
interface StackInternals {
  [LAYERS](): readonly LayerEntry[]
  [LISTEN](listener: EventListener): () => void
}

/** The client's stack. Layers can be added until the first call, which composes it. */
export class LayeredClient<Layers extends readonly BlossomLayer[]> {
  readonly #upstream: Upstream
  readonly #groups: (readonly BlossomLayer[])[]
  readonly #foundation: (request: Outgoing, context: Context) => Promise<BlossomAnswer>
  #stack: Stack<Outgoing, BlossomAnswer, Layers> | undefined
  #closing: Promise<void> | undefined

  /** @param principal a digest of the key and the base URL, which separates cached answers */
  constructor(
    upstream: Upstream,
    layers: Layers,
    principal: string,
    traits: Pick<BaseTraits, 'onEvent' | 'price'>,
  ) {
    this.#upstream = upstream
    this.#groups = [layers]
    // Events report the stack by this function's name.
    const blossom = (request: Outgoing, context: Context) => upstream.send(request, context)
    this.#foundation = base(blossom, { ...clientTraits(principal), ...traits })
  }

  use(layers: readonly BlossomLayer[]): void {
    if (this.#stack !== undefined)
      throw new ConfigError(
        'use: the client is already in use. Add layers before the first call, stats() or describe().',
      )
    if (layers.some((layer) => typeof layer !== 'function'))
      throw new ConfigError(
        'use: a layer must be a function, such as retry() returns. Spread a list of layers: use(...standard()).',
      )
    this.#groups.push(layers)
  }

  get stack(): Stack<Outgoing, BlossomAnswer, Layers> {
    this.#stack ??= composeStack<Outgoing, BlossomAnswer, Layers>(
      this.#foundation,
      this.#groups as unknown as LayerOf<Outgoing, BlossomAnswer>[][],
    )
    return this.#stack
  }

  call<Answer>(request: Outgoing, options: BlossomCallOptions): Promise<Answer> {
    // The stack checks all other options.
    if (!bringsKey(options)) return this.stack(request, options) as Promise<Answer>
    const { apiKey, ...rest } = Object.fromEntries(entriesOf('The call', options))
    const asked = apiKey === undefined ? request : request.paidBy(apiKey)
    return this.stack(asked, rest) as Promise<Answer>
  }

  listen(listener: EventListener): () => void {
    return (this.stack as unknown as StackInternals)[LISTEN](listener)
  }

  entries(): readonly LayerEntry[] {
    return (this.stack as unknown as StackInternals)[LAYERS]()
  }

  close(options: CloseOptions | undefined): Promise<void> {
    try {
      this.#closing ??= this.#shut(this.stack.close(options))
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#closing
  }

  async #shut(closed: Promise<void>): Promise<void> {
    await closed
    await this.#upstream.close()
  }
}
