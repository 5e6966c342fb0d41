import * as v from 'valibot'
import { messages, model, noStream, prompt, stream } from './fields.js'

const FORWARDED = 'Other fields are forwarded to upstream unchanged.'

// Bodies of `/v1/*` are forwarded unchanged. These are the fields that the gateway checks.

export const ChatRequest = v.pipe(
  v.object({
    messages,
    model,
    stream: stream('Whether the answer is sent as Server-Sent Events.'),
  }),
  v.description(FORWARDED),
)

const NO_INPUT = 'must be a non-empty string or list'

/**
 * If the request is translated to a chat completion, other fields are checked by the translation.
 */
export const ResponsesRequest = v.pipe(
  v.object({
    input: v.pipe(
      v.union(
        [
          v.pipe(v.string(), v.nonEmpty(NO_INPUT)),
          v.pipe(v.array(v.unknown()), v.nonEmpty(NO_INPUT)),
        ],
        NO_INPUT,
      ),
      v.description('A text, or the items of the conversation so far.'),
    ),
    model,
    stream: stream('Whether the answer is sent as Server-Sent Events.'),
  }),
  v.description(FORWARDED),
)

export const MessagesRequest = v.pipe(
  v.object({
    messages,
    model,
    max_tokens: v.optional(
      v.pipe(
        v.unknown(),
        v.description('Maximum length of the answer, in tokens. Required upstream.'),
      ),
    ),
    stream: stream('Whether the answer is sent as Server-Sent Events.'),
  }),
  v.description(FORWARDED),
)

export const CompletionsRequest = v.pipe(
  v.object({
    prompt: v.pipe(
      v.union([v.string(), v.array(v.unknown())], 'must be a string or a list'),
      v.description('The text to continue, or a list of texts.'),
    ),
    model,
    stream: stream('Whether the answer is sent as Server-Sent Events.'),
  }),
  v.description(FORWARDED),
)

export const ModerationsRequest = v.pipe(
  v.object({
    input: v.pipe(
      v.union([v.string(), v.array(v.unknown())], 'must be a string or a list'),
      v.description('The text to check, or a list of texts and images.'),
    ),
    model,
    stream: noStream,
  }),
  v.description(FORWARDED),
)

export const EmbeddingsRequest = v.pipe(
  v.object({
    input: v.pipe(
      v.union([v.string(), v.array(v.unknown())], 'must be a string or a list'),
      v.description('A text, or a list of texts.'),
    ),
    model,
    stream: noStream,
  }),
  v.description(FORWARDED),
)

export const ImagesRequest = v.pipe(
  v.object({
    prompt: prompt('What the image shows.'),
    model,
    stream: stream('Whether the image is sent as Server-Sent Events, for models that support it.'),
  }),
  v.description(FORWARDED),
)

export const ImageEditsRequest = v.pipe(
  v.object({
    prompt: prompt('How to change the image.'),
    image: v.optional(v.pipe(v.unknown(), v.description('URL of the image, or a list of URLs.'))),
    model,
    stream: stream('Whether the image is sent as Server-Sent Events, for models that support it.'),
  }),
  v.description(FORWARDED),
)

export const SpeechRequest = v.pipe(
  v.object({
    input: prompt('The text to speak.'),
    model,
    stream: noStream,
    stream_format: v.nullish(
      v.pipe(
        v.literal('audio', 'must be "audio"'),
        v.description('Speech is returned as audio bytes, not as events.'),
      ),
    ),
    voice: v.optional(v.pipe(v.unknown(), v.description('Name of the voice.'))),
  }),
  v.description(FORWARDED),
)
