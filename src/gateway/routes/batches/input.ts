import type { GenericSchema } from 'valibot'
import type { BatchEndpoint } from '../../../batches/index.js'
import { isRecord } from '../../../core/index.js'
import { ChatRequest, EmbeddingsRequest, ImagesRequest, wrongFields } from '../../schemas.js'
import { forwarded } from '../forward.js'
import { linesOf, parseLine } from './json-lines.js'
import type { LineProblem } from './shapes.js'

/** Maximum number of reported problems. */
const MOST_PROBLEMS = 100

const SCHEMAS: Readonly<Record<BatchEndpoint, GenericSchema>> = {
  '/v1/chat/completions': ChatRequest,
  '/v1/embeddings': EmbeddingsRequest,
  '/v1/images/generations': ImagesRequest,
}

/** Thrown for a file whose lines are invalid. */
export class WrongInput extends Error {
  readonly problems: readonly LineProblem[]
  constructor(problems: readonly LineProblem[]) {
    super('The input file of the batch has invalid lines.')
    this.problems = problems
  }
}

/** Reads and validates the lines of a batch. */
export class BatchInput {
  readonly #endpoint: BatchEndpoint
  readonly #models: readonly string[] | undefined
  readonly #problems: LineProblem[] = []
  readonly #seen = new Set<string>()

  constructor(endpoint: BatchEndpoint, models: readonly string[] | undefined) {
    this.#endpoint = endpoint
    this.#models = models
  }

  /** Yields the lines. @throws WrongInput after the last line, if any line is invalid */
  async *lines(pieces: AsyncIterable<string>) {
    let count = 0
    for await (const { text, number } of linesOf(pieces)) {
      count++
      const line = this.#read(text, number)
      // After the first invalid line, the others are only validated.
      if (line !== undefined && this.#problems.length === 0) yield line
      if (this.#problems.length >= MOST_PROBLEMS) break
    }
    if (count === 0) this.#add(null, 'empty_file', 'The file has no lines.')
    if (this.#problems.length > 0) throw new WrongInput(this.#problems)
  }

  #read(text: string, number: number) {
    const before = this.#problems.length
    const wrong = (code: string, message: string, param: string | null = null) =>
      this.#add(number, code, message, param)
    const { custom_id: customId, method, url, body } = parseLine(text) ?? {}
    if (typeof customId !== 'string' || customId === '' || customId.length > 512)
      wrong('invalid_custom_id', 'custom_id must be a string of 1 to 512 characters.', 'custom_id')
    else if (this.#seen.has(customId))
      wrong('duplicate_custom_id', 'Another line has the same custom_id.', 'custom_id')
    else this.#seen.add(customId)
    if (method !== 'POST') wrong('invalid_method', 'method must be POST.', 'method')
    if (url !== this.#endpoint)
      wrong('invalid_url', `url must be the endpoint of the batch, ${this.#endpoint}.`, 'url')
    if (!isRecord(body)) wrong('invalid_body', 'body must be a JSON object.', 'body')
    else this.#checkBody(body, wrong)
    if (this.#problems.length > before) return undefined
    return { customId: customId as string, body: forwarded(body as Record<string, unknown>) }
  }

  #checkBody(
    body: Record<string, unknown>,
    wrong: (code: string, message: string, param: string) => void,
  ): void {
    for (const { field, message } of wrongFields(SCHEMAS[this.#endpoint], body))
      wrong('invalid_request', `${field} ${message}.`, `body.${field}`)
    if (body.stream === true)
      wrong('invalid_request', 'stream must not be true in a batch.', 'body.stream')
    const { model } = body
    if (this.#models !== undefined && !this.#models.includes(model as string))
      wrong('model_not_found', 'There is no such model.', 'body.model')
  }

  #add(line: number | null, code: string, message: string, param: string | null = null): void {
    this.#problems.push({ code, message, param, line })
  }
}
