import type { Attributes } from '@opentelemetry/api'
import type { StackEvent } from '../../core/index.js'
import type { CallSpan } from './call-span.js'
import { outputOf } from './content.js'

type CallEnd = Extract<StackEvent, { type: 'call:end' }>

/**
 * Attributes of a call at its end. Written without helpers for speed, as it runs for every call.
 */
export function endAttributes({ server, text }: CallSpan, event: CallEnd): Attributes {
  const { responseModel, responseId, finishReason, usage, cost, outcome } = event
  const { firstTokenMs, queuedMs } = event
  const all: Attributes = server === undefined ? {} : { ...server.attributes }
  if (outcome !== 'complete') all['blossom.outcome'] = outcome
  if (queuedMs > 0) all['blossom.queued_ms'] = queuedMs
  if (responseId !== undefined) all['gen_ai.response.id'] = responseId
  if (responseModel !== undefined) all['gen_ai.response.model'] = responseModel
  if (finishReason !== undefined) all['gen_ai.response.finish_reasons'] = [finishReason]
  if (firstTokenMs !== undefined) all['gen_ai.response.time_to_first_chunk'] = firstTokenMs / 1_000
  if (usage !== undefined) {
    all['gen_ai.usage.input_tokens'] = usage.input
    all['gen_ai.usage.output_tokens'] = usage.output
    if (usage.cached !== undefined) all['gen_ai.usage.cache_read.input_tokens'] = usage.cached
    if (usage.reasoning !== undefined) all['gen_ai.usage.reasoning.output_tokens'] = usage.reasoning
  }
  if (cost !== undefined) all['blossom.cost'] = cost
  // The text is recorded only if content is captured.
  if (text !== '') all['gen_ai.output.messages'] = outputOf(text, finishReason)
  return all
}
