import {
  answerChat,
  type ChatAnswer,
  type ChatQuestion,
  CREATED,
  readChat,
  usageOf,
} from '../chat.js'
import { type Asked, bodyOf, type Draft, json, whole } from '../drafts.js'
import { bad, type Fields, field, isText, NAME } from '../fields.js'
import { type Frames, toFrames } from '../frames.js'
import { DEFAULTS } from '../models.js'
import { readMessages, toMessage, toMessageFrames } from './messages.js'
import { readResponses, toResponse, toResponseFrames } from './responses.js'

/** An API in which the same answer has another form. */
interface Api {
  read(body: Fields): ChatQuestion
  toBody(answer: ChatAnswer): object
  toFrames(answer: ChatAnswer, words: number): Frames
}

const of =
  (api: Api) =>
  (asked: Asked): Draft => {
    const question = { ...api.read(bodyOf(asked)), choices: 1 }
    const model = asked.models.resolve(question.model)
    const answer = (number: number) =>
      answerChat(question, String(number), model, asked.reply, asked.words)[0] as ChatAnswer
    if (question.stream) {
      const make = (number: number) => ({
        model,
        frames: api.toFrames(answer(number), asked.wordsPerChunk),
      })
      return { stream: true, make }
    }
    return whole((number) => ({ ...json(api.toBody(answer(number))), model }))
  }

/** `POST /v1/responses`. @internal */
export const responses = of({
  read: readResponses,
  toBody: toResponse,
  toFrames: toResponseFrames,
})

/** `POST /v1/messages`. @internal */
export const messages = of({ read: readMessages, toBody: toMessage, toFrames: toMessageFrames })

/** `POST /v1/completions`: the chat's answer, with its text where older clients look for it. */
export const completions = of({
  read: (body) => {
    if (!isText(body.prompt)) throw bad('prompt', 'must be a string')
    return readChat({ ...body, messages: [{ role: 'user', content: body.prompt }] })
  },
  toBody: (answer) => ({
    id: `cmpl-${answer.id}`,
    object: 'text_completion',
    created: CREATED,
    model: answer.model,
    choices: [
      { index: 0, text: answer.content, finish_reason: answer.finishReason, logprobs: null },
    ],
    usage: usageOf([answer]),
  }),
  toFrames: (answer, words) => textFrames(toFrames([answer], words, false)),
})

/** Frames of a chat as those of a text completion. */
function textFrames(frames: Frames): Frames {
  const inText = (frame: string): string =>
    frame
      .replace('chat.completion.chunk', 'text_completion')
      .replace(/"delta":\{"content":("(?:[^"\\]|\\.)*")\}/, '"text":$1')
      .replace(/"delta":\{[^}]*\}/, '"text":""')
  return {
    head: inText(frames.head),
    content: frames.content.map(inText),
    tail: frames.tail.map(inText),
    chunkOf: (text) => inText(frames.chunkOf(text)),
  }
}

/** `POST /v1/moderations`: nothing is ever found. */
export function moderations(asked: Asked): Draft {
  const body = bodyOf(asked)
  const { input } = body
  const model = asked.models.resolve(field(body, 'model', NAME) ?? DEFAULTS.text)
  if (!isText(input) && !Array.isArray(input)) throw bad('input', 'must be a string or a list')
  const results = [input]
    .flat()
    .map(() => ({ flagged: false, categories: {}, category_scores: {} }))
  return whole((number) => json({ id: `modr-local-${number}`, model, results }))
}

/** `GET /v1/models/{id}`. @internal */
export function modelById({ record, models }: Asked): Draft {
  const id = decodeURIComponent(record.path.slice('/v1/models/'.length))
  return whole(() => json(models.openAiModel(id)))
}
