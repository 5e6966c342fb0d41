import type { Schema } from './answers.js'
import { refTo } from './schemas.js'

/** The header that requests a resumable stream. */
export const RESUMABLE: Schema = {
  name: 'x-stream-resumable',
  in: 'header',
  description:
    'With `true`, the stream continues for a while if its connection breaks, and can be resumed with its `X-Stream-Id`.',
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
  503: 'The stream may be on another server, which cannot be reached at the moment.',
} as const

/** The routes of streams that can be resumed. */
export const STREAM_OPERATIONS = {
  'v1-streams': {
    summary: 'Resume a stream',
    description:
      'Sends the rest of a stream that was requested with `x-stream-resumable: true`, after the last event that the client has. The position is taken from `Last-Event-ID`, else from `after`, else from `starting_after`; without any of them the stream is sent from its beginning.',
    tag: 'OpenAI',
    parameters: [
      position('Last-Event-ID', 'header', 'The id of the last event that the client has.'),
      position('after', 'query', 'The same as `Last-Event-ID`.'),
      position('starting_after', 'query', 'The same as `Last-Event-ID`.'),
    ],
    success: {
      'text/event-stream': {
        schema: refTo('ResumedEvents'),
        example: 'id: 7\ndata: {"choices":[{"index":0,"delta":{"content":"seen."}}]}\n\n',
      },
    },
    empty: 'There are no further events: the client has the whole stream.',
    failures: [400, 404, 410, 500, 503],
    meanings: { 400: 'The position is not the id of an event.', ...MISSING },
    headers: ['StreamId'],
  },
  'v1-streams-stop': {
    summary: 'Stop a stream',
    description: 'Ends the generation for all clients that read it, and deletes its events.',
    tag: 'OpenAI',
    success: {},
    empty: 'The stream was stopped, or had already ended.',
    failures: [404, 500, 503],
    meanings: MISSING,
  },
} as const
