import {
  answerChat,
  type ChatAnswer,
  type ChatQuestion,
  CREATED,
  readChat,
  usageOf,
} from '../chat.js'
import { type Asked, bodyOf, type Draft, json, whole } from '../drafts.js'
import { bad, type Fields, field, isObject, isText, NAME, TEXT } from '../fields.js'
import { type Frames, toFrames } from '../frames.js'
import { drawPng } from '../media.js'
import { DEFAULTS } from '../models.js'
import { pieces } from '../text.js'
import { readMessages, toMessage, toMessageFrames } from './messages.js'
import { readResponses, toResponse, toResponseFrames } from './responses.js'

/** An API that returns the same answer in another format. */
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

/** `POST /v1/completions`: the chat's answer in the format of older clients. */
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

/** Converts frames of a chat to frames of a text completion. */
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

/** `POST /v1/moderations`: never flags anything. */
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

/** `POST /v1/audio/transcriptions`: the text depends only on the file. */
export function transcriptions(asked: Asked): Draft {
  const body = bodyOf(asked)
  if (!isObject(body.file)) throw bad('file', 'is missing')
  const model = asked.models.resolve(field(body, 'model', NAME) ?? DEFAULTS.audio)
  const text = asked.reply ?? `A recording of ${String(body.file.bytes)} bytes.`
  const format = field(body, 'response_format', TEXT) ?? 'json'
  if (body.stream === 'true') {
    const event = (type: string, fields: Fields) =>
      `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`
    const frames: Frames = {
      head: '',
      content: pieces(text).map((delta) => event('transcript.text.delta', { delta })),
      tail: [event('transcript.text.done', { text })],
      chunkOf: (delta) => event('transcript.text.delta', { delta }),
    }
    return { stream: true, make: () => ({ model, frames }) }
  }
  if (format === 'json') return whole(() => ({ ...json({ text }), model }))
  return whole(() => ({ contentType: 'text/plain; charset=utf-8', body: Buffer.from(text), model }))
}

/** `POST /v1/images/edits`: the picture depends on the prompt and the files. */
export function imageEdits(asked: Asked): Draft {
  const body = bodyOf(asked)
  const image = body.image ?? body['image[]']
  if (image === undefined) throw bad('image', 'is missing')
  const prompt = field(body, 'prompt', NAME)
  if (prompt === undefined) throw bad('prompt', 'is missing')
  const model = asked.models.resolve(field(body, 'model', NAME) ?? DEFAULTS.image)
  const png = drawPng(prompt, model, JSON.stringify(image), 64, 64)
  const data = [{ b64_json: png.toString('base64') }]
  return whole(() => ({ ...json({ created: CREATED, data }), model }))
}

/** `GET /video/{prompt}`: a minimal MP4 file. */
export function videoByPath(asked: Asked): Draft {
  const prompt = decodeURIComponent(asked.record.path.slice('/video/'.length))
  const type = Buffer.from('\0\0\0\u0014ftypisom\0\0\0\0isom', 'latin1')
  const data = Buffer.from(prompt)
  const head = Buffer.alloc(8)
  head.writeUInt32BE(8 + data.length)
  head.write('mdat', 4, 'latin1')
  return whole(() => ({ contentType: 'video/mp4', body: Buffer.concat([type, head, data]) }))
}
