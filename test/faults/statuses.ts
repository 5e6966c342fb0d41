import type { ErrorCode } from '../../src/index.js'
import { answers, json, repeats, says } from '../support/fault-plays.js'
import type { Play } from '../support/fault-upstream.js'
import type { Group, Method, Row } from './row.js'

const ERROR = JSON.stringify({ error: { code: 'code_1', message: 'No.' } })

/** Statuses that say something of the caller, his key or his balance. */
const CALLERS: Readonly<Record<number, ErrorCode>> = {
  400: 'BAD_REQUEST',
  401: 'AUTH',
  402: 'PAYMENT',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  405: 'BAD_REQUEST',
  410: 'BAD_REQUEST',
  413: 'BAD_REQUEST',
  415: 'BAD_REQUEST',
  418: 'BAD_REQUEST',
  422: 'BAD_REQUEST',
  431: 'BAD_REQUEST',
  451: 'BAD_REQUEST',
}
/** Statuses that say something of upstream. */
const UPSTREAMS: Readonly<Record<number, ErrorCode>> = {
  408: 'TIMEOUT',
  409: 'SERVER',
  425: 'SERVER',
  ...Object.fromEntries(
    [500, 501, 502, 503, 504, 505, 507, 511, 520, 521, 522, 523, 524, 529, 530, 599].map(
      (status) => [status, 'SERVER'],
    ),
  ),
}

const callers = (status: number, ends: ErrorCode, call?: Method): Row => ({
  fault: String(status),
  ...(call && { call }),
  play: answers(status, ERROR, {
    'content-type': 'application/json',
    'x-request-id': `r${status}`,
  }),
  ends,
  error: { upstreamStatus: status, requestId: `r${status}`, retryable: false },
  requests: 1,
  breaker: {},
})

const upstreams = (status: number, ends: ErrorCode, call?: Method): Row => ({
  ...callers(status, ends, call),
  error: { upstreamStatus: status, requestId: `r${status}`, retryable: true },
  requests: 3,
  breaker: { failures: 3 },
})

/** What happened between servers: nothing is gained by repeating it. */
const between = (status: number): Row => ({
  ...callers(status, 'SERVER'),
  breaker: { failures: 1 },
})

const failing = (fault: string, play: Play, rest: Partial<Row> = {}): Row => ({
  fault,
  play,
  ends: 'SERVER',
  error: { upstreamStatus: 500 },
  requests: 3,
  breaker: { failures: 3 },
  ...rest,
})

const of = (
  table: Readonly<Record<number, ErrorCode>>,
  make: (status: number, ends: ErrorCode) => Row,
) => Object.entries(table).map(([status, ends]) => make(Number(status), ends))

const unavailable = json(ERROR, 503)
const LARGE = 48 * 2 ** 20

/** Tells key and prompt in this form. */
const echo = (body: (key: string, prompt: string) => unknown, status = 500): Play =>
  json(
    (request) => JSON.stringify(body(String(request.headers.authorization), request.body)),
    status,
  )

export const statuses: Group = {
  title: 'Statuses and error bodies',
  rows: [
    ...of(CALLERS, callers),
    ...of(UPSTREAMS, upstreams),
    ...[423, 424, 499].map(between),
    ...([400, 401, 404] as const).map((status) => callers(status, CALLERS[status]!, 'text.stream')),
    callers(402, 'PAYMENT', 'image.generate'),
    callers(422, 'BAD_REQUEST', 'embeddings.create'),
    upstreams(503, 'SERVER', 'text.stream'),
    upstreams(500, 'SERVER', 'image.generate'),
    {
      fault: '503 twice, then an answer',
      play: [unavailable, unavailable],
      ends: 'answer',
      requests: 3,
      breaker: { failures: 2, successes: 1 },
    },
    {
      fault: '503 twice, then an answer',
      call: 'text.stream',
      play: [unavailable, unavailable],
      ends: 'answer',
      requests: 3,
      breaker: { failures: 2, successes: 1 },
    },
    {
      fault: '503, then 400',
      play: [unavailable, json(ERROR, 400)],
      ends: 'BAD_REQUEST',
      requests: 2,
      breaker: { failures: 1 },
    },
    {
      fault: '429 twice, then an answer',
      play: [json(ERROR, 429), json(ERROR, 429)],
      clock: true,
      ends: 'answer',
      requests: 3,
      breaker: { successes: 1 },
    },
    {
      fault: '429 every time',
      play: json(ERROR, 429),
      clock: true,
      ends: 'RATE_LIMITED',
      requests: 3,
      breaker: {},
    },
    failing(
      'an error body of 48 MiB',
      repeats(
        `HTTP/1.1 500 No\r\ncontent-length: ${LARGE}\r\n\r\n`,
        'x'.repeat(2 ** 16),
        'at once',
        LARGE,
      ),
      {
        also: (_outcome, { upstream }) => {
          // What the kernel takes on its way is not in our hands.
          if (upstream.sent > 2 * LARGE)
            throw new Error(`${upstream.sent} bytes of error bodies were read.`)
        },
      },
    ),
    failing(
      'an endless error body',
      repeats('HTTP/1.1 500 No\r\n\r\n', 'x'.repeat(2 ** 16), 'at once'),
    ),
    failing(
      'an error body that stops half-way',
      says('HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\n{"error"'),
    ),
    failing(
      'an error body that is reset half-way',
      says('HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\n{"error"', 'rst'),
    ),
    failing(
      'an error body that falls silent',
      says('HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\n{"error"', 'silence'),
      {
        clock: true,
        ends: 'TIMEOUT',
        error: {},
      },
    ),
    failing(
      'an error body at one byte per second',
      repeats('HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\n', 'x', 1_000),
      {
        clock: true,
        ends: 'TIMEOUT',
        error: {},
      },
    ),
    failing(
      'a web page',
      answers(500, (request) => `<html>${request.body}</html>`, { 'content-type': 'text/html' }),
    ),
    failing('an error that is not valid JSON', json('{"error":{"message":', 500)),
    failing('an error with the wrong structure', json('[[[]]]', 500)),
    failing('an error that is null', json('null', 500)),
    failing(
      'an error body labelled as gzip that is not gzip',
      answers(500, ERROR, { 'content-encoding': 'gzip' }),
    ),
    failing(
      'an error nested 7,000 deep',
      json(`${'{"error":'.repeat(7_000)}1${'}'.repeat(7_000)}`, 500),
    ),
    failing(
      'an error with a stack trace',
      json(
        JSON.stringify({
          error: { message: 'Cannot read properties of undefined', stack: 'at x' },
        }),
        500,
      ),
    ),
    failing(
      'an error with __proto__',
      json('{"__proto__":{"polluted":1},"error":{"__proto__":{"polluted":1}}}', 500),
      {
        also: () => {
          if ('polluted' in {}) throw new Error('Every object has been polluted.')
        },
      },
    ),
    failing(
      'the key and the prompt in the message',
      echo((key, prompt) => ({ error: { message: `You sent ${key} and ${prompt}` } })),
    ),
    failing(
      'the key as the code',
      echo((key) => ({ error: { code: key.replace('Bearer ', ''), type: key } })),
    ),
    failing(
      'the key as the error',
      echo((key) => ({ error: key.replace('Bearer ', '') })),
    ),
    failing(
      'the key as the request id',
      echo((key) => ({ error: { requestId: key.replace('Bearer ', '') } })),
    ),
    failing(
      'the key in headers',
      (line) =>
        answers(500, '', {
          'x-request-id': line.request.headers.authorization!,
          'retry-after': line.request.headers.authorization!,
        })(line),
      { error: { upstreamStatus: 500, requestId: undefined, headers: {} } },
    ),
    {
      fault: '401 with the key in the body',
      play: echo((key) => ({ error: { message: key, code: key } }), 401),
      ends: 'AUTH',
      requests: 1,
      breaker: {},
    },
  ],
}
