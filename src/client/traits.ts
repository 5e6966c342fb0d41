import { type BaseTraits, Frame, isBytes, isJson, isRecord, Json } from '../core/index.js'
import type { BlossomAnswer, JsonAnswer } from './types.js'
import { choicesOf, isWorthKeeping } from './wire/choices.js'
import { commits, isCompletion, isTextCompletion } from './wire/completion.js'
import { fromChunks } from './wire/completion-from-chunks.js'
import { toChunks } from './wire/completion-to-chunks.js'
import { fromValue } from './wire/from-value.js'
import { divideEmbeddings, inputsOf, mergeEmbeddings } from './wire/merged-embeddings.js'
import { isWorthKeeping as isMessageWorthKeeping } from './wire/messages/events.js'
import { modelOf, withModel } from './wire/models.js'
import type { Outgoing } from './wire/outgoing.js'
import { operation, reports } from './wire/reports.js'
import { isWorthKeeping as isResponseWorthKeeping, lastResponse } from './wire/responses/events.js'
import { toEvents } from './wire/responses/to-events.js'
import { asksForUsage, EMBEDDINGS, isChat, isResponses } from './wire/shapes.js'
import { areWorthKeeping } from './wire/stream-progress.js'
import { conversation, tokenUsage, weigh } from './wire/tokens.js'

/**
 * What the layers need to know about the client's requests and answers. `principal` is a digest of
 * the key and the base URL.
 */
export function clientTraits(principal: string): BaseTraits<Outgoing, BlossomAnswer, unknown> {
  return {
    streams: ({ stream }) => stream,
    key: (request, use) => {
      const { identity, stream, body } = request
      if (identity === undefined) return undefined
      // A stored stream can answer a plain call. A stream in progress can only be shared with calls
      // that stream with the same options.
      const form =
        use === 'dedupe' && stream ? `stream ${JSON.stringify(body?.stream_options ?? null)} ` : ''
      return `${form}${request.principal ?? principal} ${identity}`
    },
    model: modelOf,
    withModel,
    fromValue,
    // Pollinations' documentation, 2026-11: equal requests in progress share one generation.
    joins: () => true,
    ownKey: ({ key }) => key !== undefined,
    conversation,
    weigh,
    usage: tokenUsage,
    operation,
    reports,
    commits,
    complete: areWorthKeeping,
    valid: isAnswer,
    toStream: (answer, request) => {
      const data = dataOf(answer)
      const { body } = request
      if (isResponses(request) && isRecord(data)) return toEvents(data)
      if (!isCompletion(data)) return undefined
      return toChunks(data, asksForUsage(body)).map((chunk) => Frame.of(chunk))
    },
    variant: ({ body }) => (asksForUsage(body) ? WITH_USAGE : ''),
    replay: (chunks, { body }, variant) => {
      if (!asksForUsage(body)) return withoutUsage(chunks)
      // Some servers report no usage even when asked to. A new request would not get it either.
      const isServed =
        variant === WITH_USAGE || chunks.some((chunk) => usageIn(chunk) !== undefined)
      return isServed ? chunks : undefined
    },
    fromStream,
    split: ({ path, body, principal: own }) => {
      if (path !== EMBEDDINGS || body === undefined) return undefined
      const { input, ...rest } = body
      const inputs = inputsOf(input)
      return inputs && { group: JSON.stringify([own ?? null, rest]), size: inputs.length }
    },
    merge: mergeEmbeddings,
    divide: divideEmbeddings,
  }
}

/** The plain answer that a complete stream contains, if it contains one. */
function fromStream(chunks: readonly unknown[], request: Outgoing): BlossomAnswer | undefined {
  if (isResponses(request)) {
    const response = chunks.map(lastResponse).findLast((last) => last !== undefined)
    return response && { data: Json.of(response), requestId: undefined }
  }
  if (!isChat(request)) return undefined
  const data = fromChunks(chunks)
  // A plain answer always reports its usage. A stream that was not asked for it does not, so it
  // cannot serve a plain call.
  return data?.usage && { data: Json.of(data), requestId: undefined }
}

/** The variant name of streams that were asked to report their usage. */
const WITH_USAGE = 'usage'

/**
 * The chunks of a stored stream for a request that did not ask for usage: without the usage chunk,
 * whose empty list of choices many clients do not expect.
 */
function withoutUsage(chunks: readonly unknown[]): readonly unknown[] {
  const isForUsage = (chunk: unknown) => usageIn(chunk)?.choices.length === 0
  return chunks.some(isForUsage) ? chunks.filter((chunk) => !isForUsage(chunk)) : chunks
}

/** Returns a chunk if it contains usage. Unparsed text is parsed only if it mentions usage. */
function usageIn(chunk: unknown): { readonly choices: readonly unknown[] } | undefined {
  if (isJson(chunk) && !chunk.text.includes('"usage"')) return undefined
  const value = isJson(chunk) ? chunk.value : chunk
  const choices = choicesOf(value)
  return choices !== undefined && isRecord((value as { usage?: unknown }).usage)
    ? { choices }
    : undefined
}

function isAnswer(answer: unknown): answer is BlossomAnswer {
  if (!isRecord(answer)) return false
  if (isBytes(answer.bytes))
    return (
      answer.bytes.byteLength > 0 &&
      typeof answer.contentType === 'string' &&
      answer.unmeasured !== true
    )
  const body = dataOf(answer)
  if (!isRecord(body)) return Array.isArray(body)
  const { choices, data } = body
  if (body.object === 'response') return isResponseWorthKeeping(body)
  if (body.type === 'message') return isMessageWorthKeeping(body)
  return choices === undefined
    ? data === undefined || Array.isArray(data)
    : (isCompletion(body) || isTextCompletion(body)) && isWorthKeeping(body.choices)
}

/** The value of a JSON answer, to read only. A user's own layer may return a plain object. */
function dataOf(answer: object): unknown {
  const { data } = answer as Partial<JsonAnswer>
  return isJson(data) ? data.value : data
}
