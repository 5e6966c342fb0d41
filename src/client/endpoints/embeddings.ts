import { rules, ValidationError } from '../../core/index.js'
import { checkPrompt, readArguments } from '../arguments.js'
import { ProtocolError } from '../errors.js'
import type { Blossom } from '../interface.js'
import type { EmbeddingOptions, EmbeddingResult, JsonAnswer } from '../types.js'
import { usageOf } from '../wire/completion.js'
import { embeddingsIn } from '../wire/embeddings.js'
import { Outgoing } from '../wire/outgoing.js'
import { EMBEDDINGS } from '../wire/shapes.js'
import { askWithHeaders, dataOf } from './answers.js'
import type { Call } from './call.js'

type EmbeddingFields = Pick<EmbeddingOptions, 'model' | 'dimensions'>

const embeddingRules = {
  model: rules.text(undefined),
  dimensions: rules.integer(undefined, { min: 1, max: 65_536 }),
}

/** `embeddings.create`. */
export function embeddingEndpoints(call: Call): Blossom['embeddings'] {
  return {
    create: async (input, options) => {
      const { fields, call: callOptions } = readArguments<EmbeddingFields>(
        'embeddings.create',
        options,
        embeddingRules,
      )
      if (typeof input !== 'string' && (!Array.isArray(input) || input.length === 0))
        throw new ValidationError(
          'embeddings.create: the input must be a string or a non-empty list of strings.',
        )
      // A copy: the caller's list may change while a batcher waits for more calls.
      const inputs: string | string[] = typeof input === 'string' ? input : [...input]
      for (const item of [inputs].flat()) checkPrompt('embeddings.create', item)
      const body = {
        model: fields.model,
        input: inputs,
        dimensions: fields.dimensions,
        encoding_format: 'float',
      }
      const request = new Outgoing('POST', EMBEDDINGS, body, 'json')
      const { answer, headers } = await askWithHeaders<JsonAnswer>(call, request, callOptions)
      const count = typeof inputs === 'string' ? 1 : inputs.length
      return { ...resultOf(dataOf(answer), count), headers }
    },
  }
}

function resultOf(data: unknown, expected: number): Omit<EmbeddingResult, 'headers'> {
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
