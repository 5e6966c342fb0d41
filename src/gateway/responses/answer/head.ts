import { randomUUID } from 'node:crypto'
import { isRecord, wallTime } from '../../../core/index.js'

type Fields = Readonly<Record<string, unknown>>

/** Creates an id, such as `resp_` and 32 hex digits. Ids of reasoning must begin with `rs_`. */
export const newId = (kind: 'resp' | 'msg' | 'rs' | 'fc' | 'call'): string =>
  `${kind}_${randomUUID().replaceAll('-', '')}`

/** The fields of a response other than its output: repeated from the request, or constant. */
export class ResponseHead {
  readonly #id = newId('resp')
  readonly #body: Fields
  #createdAt: number | undefined
  #model = ''
  #tier: string | undefined

  constructor(body: Fields) {
    this.#body = body
  }

  /** Records the time, model and tier of a completion or a chunk; the first values are kept. */
  see({ created, model, service_tier }: Fields): void {
    if (typeof created === 'number' && created > 0) this.#createdAt ??= Math.floor(created)
    if (typeof model === 'string' && this.#model === '') this.#model = model
    if (typeof service_tier === 'string') this.#tier = service_tier
  }

  /** The response in its current state. */
  with(state: {
    readonly status: 'in_progress' | 'completed' | 'incomplete' | 'failed'
    readonly output: readonly Fields[]
    readonly usage: Fields | null
    readonly incomplete_details?: Fields
    readonly error?: Fields
  }): Fields {
    const body = this.#body
    this.#createdAt ??= Math.floor(wallTime() / 1_000)
    const { model = '' } = body
    return {
      id: this.#id,
      object: 'response',
      created_at: this.#createdAt,
      status: state.status,
      background: false,
      error: state.error ?? null,
      incomplete_details: state.incomplete_details ?? null,
      instructions: body.instructions ?? null,
      max_output_tokens: body.max_output_tokens ?? null,
      metadata: body.metadata ?? {},
      model: this.#model === '' ? (model ?? '') : this.#model,
      output: state.output,
      parallel_tool_calls: body.parallel_tool_calls ?? true,
      previous_response_id: null,
      reasoning: { effort: null, summary: null, ...(isRecord(body.reasoning) && body.reasoning) },
      ...(this.#tier !== undefined && { service_tier: this.#tier }),
      store: false,
      temperature: body.temperature ?? null,
      text: { format: { type: 'text' }, ...(isRecord(body.text) && body.text) },
      tool_choice: body.tool_choice ?? 'auto',
      tools: body.tools ?? [],
      top_p: body.top_p ?? null,
      truncation: 'disabled',
      usage: state.usage,
    }
  }
}

/** The usage of a chat in the format of a response; `null` if upstream reports none. */
export function usageOf(usage: unknown): Fields | null {
  if (!isRecord(usage)) return null
  const { prompt_tokens, completion_tokens, total_tokens } = usage
  const [input, output] = [countOf(prompt_tokens), countOf(completion_tokens)]
  return {
    input_tokens: input,
    input_tokens_details: {
      cached_tokens: detailOf(usage.prompt_tokens_details, 'cached_tokens'),
    },
    output_tokens: output,
    output_tokens_details: {
      reasoning_tokens: detailOf(usage.completion_tokens_details, 'reasoning_tokens'),
    },
    total_tokens: typeof total_tokens === 'number' ? total_tokens : input + output,
  }
}

const countOf = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) ? value : 0

const detailOf = (details: unknown, name: string): number =>
  isRecord(details) ? countOf(details[name]) : 0
