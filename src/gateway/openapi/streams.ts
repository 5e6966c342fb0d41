import type { Schema } from './answers.js'
import { refTo } from './schemas.js'

/** By which a client asks for a stream that can be resumed. */
export const RESUMABLE: Schema = {
  name: 'x-stream-resumable',
  in: 'header',
  description:
    '`true`: a stream goes on for a while when its connection breaks, and can be resumed by its `X-Stream-Id`.',
  schema: { type: 'string', enum: ['true', 'false'] },
}

const position = (name: string, place: 'header' | 'query', description: string): Schema => ({
  name,
  in: place,
  description,
  schema: { type: 'integer', minimum: 0 },
})

const MISSING = {
  404: 'There is no such stream.',
  503: 'Other servers may have the stream, and cannot be asked at the moment.',
} as const

/** The routes of streams that can be resumed. */
export const STREAM_OPERATIONS = {
  'v1-streams': {
    summary: 'Resume a stream',
    description:
      'Sends the rest of a stream that was requested with `x-stream-resumable: true`, after the last event that the client has. `Last-Event-ID` counts before `after`, and `after` before `starting_after`; without any of them the stream is sent from its beginning.',
    tag: 'OpenAI',
    parameters: [
      position('Last-Event-ID', 'header', 'The id of the last event that the client has.'),
      position('after', 'query', 'The same.'),
      position('starting_after', 'query', 'The same.'),
    ],
    success: {
      'text/event-stream': {
        schema: refTo('ResumedEvents'),
        example: 'id: 7\ndata: {"choices":[{"index":0,"delta":{"content":"seen."}}]}\n\n',
      },
    },
    empty: 'The client has the whole stream.',
    failures: [400, 404, 410, 500, 503],
    meanings: { 400: 'The position is not the id of an event.', ...MISSING },
    headers: ['StreamId'],
  },
  'v1-streams-stop': {
    summary: 'Stop a stream',
    description: 'Ends the generation, for all clients that read it, and forgets its events.',
    tag: 'OpenAI',
    success: {},
    empty: 'The stream was stopped, or had ended before.',
    failures: [404, 500, 503],
    meanings: MISSING,
  },
} as const
