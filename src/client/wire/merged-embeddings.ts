import { isJson, isRecord, Json, slices } from '../../core/index.js'
import type { BlossomAnswer, JsonAnswer, WireUsage } from '../types.js'
import { itemsIn } from './embeddings.js'
import type { Outgoing } from './outgoing.js'

/** The inputs of an embeddings call; `undefined` for token arrays, which are not merged. */
export function inputsOf(input: unknown): readonly string[] | undefined {
  if (typeof input === 'string') return [input]
  return Array.isArray(input) && input.length > 0 && input.every((item) => typeof item === 'string')
    ? input
    : undefined
}

/** Merges embeddings calls into one; `part` extracts the answer of each call. */
export function mergeEmbeddings(requests: readonly Outgoing[]) {
  const input = requests.flatMap(({ body }) => inputsOf(body?.input) ?? [])
  return {
    request: withInput(requests[0] as Outgoing, input),
    part: (answer: BlossomAnswer, from: number, size: number) => partOf(answer, input, from, size),
  }
}

/** Splits an embeddings call into calls of at most `size` inputs; `join` merges their answers. */
export function divideEmbeddings(request: Outgoing, size: number) {
  const parts = slices(inputsOf(request.body?.input) ?? [], size)
  return {
    requests: parts.map((input) => withInput(request, input)),
    join: (answers: readonly BlossomAnswer[]) => joined(answers, parts),
  }
}

const withInput = (request: Outgoing, input: unknown): Outgoing =>
  request.with({ body: { ...request.body, input } })

/**
 * One call's part of a merged answer. Upstream reports only the total usage, so each call gets a
 * share by the length of its inputs.
 */
function partOf(
  answer: BlossomAnswer,
  input: readonly string[],
  from: number,
  size: number,
): BlossomAnswer {
  const body = bodyOf(answer)
  const data = itemsOf(body, input.length).slice(from, from + size)
  const length = (items: readonly string[]) => items.reduce((sum, item) => sum + item.length, 0)
  const share = length(input.slice(from, from + size)) / Math.max(1, length(input))
  const usage = usageIn(body)
  return answerOf(
    answer,
    body,
    data,
    usage && countsOf(usage, (count) => Math.round(count * share)),
  )
}

/** Merges the answers to the parts of a call and adds up their usage. */
function joined(
  answers: readonly BlossomAnswer[],
  parts: readonly (readonly string[])[],
): BlossomAnswer {
  const bodies = answers.map(bodyOf)
  const data = parts.flatMap(({ length }, i) => itemsOf(bodies[i] ?? {}, length))
  const usages = bodies.map(usageIn)
  const [first] = usages
  const usage =
    first && usages.every((one) => one !== undefined)
      ? countsOf(first, (_, name) => usages.reduce((sum, one) => sum + (one?.[name] ?? 0), 0))
      : undefined
  return answerOf(answers[0] as BlossomAnswer, bodies[0] ?? {}, data, usage)
}

type Body = Readonly<Record<string, unknown>>

function bodyOf(answer: BlossomAnswer): Body {
  const { data } = answer as Partial<JsonAnswer>
  const body: unknown = isJson(data) ? data.value : data
  return isRecord(body) ? body : {}
}

function itemsOf(body: Body, count: number): Body[] {
  const items = itemsIn(body, count)
  if (items === undefined)
    throw new TypeError(`Upstream did not answer ${count} inputs with one embedding each.`)
  return items
}

function usageIn({ usage }: Body): WireUsage | undefined {
  return isRecord(usage) ? (usage as unknown as WireUsage) : undefined
}

type Count = 'prompt_tokens' | 'total_tokens'

function countsOf(usage: WireUsage, count: (given: number, name: Count) => number): WireUsage {
  const { prompt_tokens, total_tokens } = usage
  return {
    ...usage,
    prompt_tokens: count(prompt_tokens, 'prompt_tokens'),
    total_tokens: count(total_tokens, 'total_tokens'),
  }
}

/** A copy of an answer with other items, numbered from 0. */
function answerOf(
  given: BlossomAnswer,
  body: Body,
  items: readonly Body[],
  usage: WireUsage | undefined,
): BlossomAnswer {
  const data = items.map((item, index) => ({ ...item, index }))
  return {
    data: Json.of({ ...body, data, usage }),
    requestId: (given as JsonAnswer).requestId,
  }
}
