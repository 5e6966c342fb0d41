import { Refusal } from './errors.js'

type Kind = 'text' | 'image' | 'audio' | 'embedding'

/** One model of the detailed lists (Pollinations gateway documentation, 2026-11). */
interface Model {
  readonly name: string
  readonly kind: Kind
  readonly aliases: readonly string[]
}

/** Default models by endpoint. `openai`, `flux` and `alloy` are those of the gateway. @internal */
export const DEFAULTS = {
  text: 'openai',
  image: 'flux',
  audio: 'openai-audio',
  embedding: 'text-embedding-3-small',
  voice: 'alloy',
}

/** A few names instead of the gateway's list, which changes every week. */
const BUILT_IN: readonly Model[] = [
  { name: 'openai', kind: 'text', aliases: ['openai-default'] },
  { name: 'openai-fast', kind: 'text', aliases: [] },
  { name: 'openai-large', kind: 'text', aliases: [] },
  { name: 'mistral', kind: 'text', aliases: [] },
  { name: 'flux', kind: 'image', aliases: [] },
  { name: 'turbo', kind: 'image', aliases: [] },
  { name: 'openai-audio', kind: 'audio', aliases: ['tts-1'] },
  { name: 'text-embedding-3-small', kind: 'embedding', aliases: [] },
  { name: 'text-embedding-3-large', kind: 'embedding', aliases: [] },
]

/** The endpoints of each kind of model (Pollinations gateway documentation, 2026-11). */
const ENDPOINTS: Readonly<Record<Kind, readonly string[]>> = {
  text: ['/v1/chat/completions', '/v1/responses', '/v1/messages', '/v1/completions', '/text'],
  image: ['/v1/images/generations', '/v1/images/edits', '/image'],
  audio: ['/v1/audio/speech', '/v1/audio/transcriptions', '/audio'],
  embedding: ['/v1/embeddings'],
}

/** The models of a local Blossom: the built-in ones and those added by the options. @internal */
export class Models {
  readonly #list: readonly Model[]
  readonly #canonical = new Map<string, string>()
  readonly #withResponses: boolean

  constructor(added: readonly string[], withResponses = true) {
    this.#withResponses = withResponses
    const known = new Set(BUILT_IN.map((model) => model.name))
    const extra = added.filter((name) => !known.has(name))
    this.#list = [...BUILT_IN, ...extra.map((name): Model => ({ name, kind: 'text', aliases: [] }))]
    for (const { name, aliases } of this.#list)
      for (const spelling of [name, ...aliases]) this.#canonical.set(spelling, name)
  }

  /** The canonical name for a requested name. Throws a 404 for an unknown one. */
  resolve(asked: string): string {
    const name = this.#canonical.get(asked)
    if (name === undefined)
      throw new Refusal(404, 'No such model.', { details: { field: 'model' } })
    return name
  }

  /** `GET /v1/models`. */
  openAiList(): object {
    return {
      object: 'list',
      data: this.#list.map((model) => this.#row(model)),
    }
  }

  /** `GET /v1/models/{id}`. */
  openAiModel(asked: string): object {
    const name = this.resolve(asked)
    return this.#row(this.#list.find((model) => model.name === name) as Model)
  }

  #row({ name, kind }: Model): object {
    return {
      id: name,
      object: 'model',
      created: 0,
      owned_by: 'local-blossom',
      supported_endpoints: this.#endpointsOf(kind),
    }
  }

  #endpointsOf(kind: Kind): readonly string[] {
    return ENDPOINTS[kind].filter((path) => path !== '/v1/responses' || this.#withResponses)
  }

  /** `GET /models` and the lists by kind. */
  richList(kind?: Kind): object[] {
    return this.#list
      .filter((model) => kind === undefined || model.kind === kind)
      .map(({ name, kind: output, aliases }) => ({
        name,
        aliases,
        description: `A stand-in for ${name}, answered by the local Blossom.`,
        pricing: { currency: 'pollen', input_token_price: 0, output_token_price: 0 },
        input_modalities: output === 'text' ? ['text', 'image'] : ['text'],
        output_modalities: [output],
        tools: output === 'text',
      }))
  }
}
