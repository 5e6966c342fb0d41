import { expect } from 'vitest'
import {
  answers,
  BEGUN,
  begun,
  drips,
  goodBut,
  json,
  pieces,
  repeats,
  says,
  stream,
} from '../support/fault-plays.js'
import type { Line, Play, Received } from '../support/fault-upstream.js'
import { goodBytes, goodCompletion, goodEvents, goodText } from '../support/good-answers.js'
import { answer, chunk, DONE, event, STREAM_HEAD } from '../support/wire.js'
import type { Group, Row } from './row.js'

type Partly = Partial<Row> & Pick<Row, 'fault'>

/** Unusual, and right. */
const fine = (row: Partly): Row => ({
  call: 'text.stream',
  ends: 'answer',
  requests: 1,
  breaker: { successes: 1 },
  ...row,
})
/** Right but for its `[DONE]`: it is an answer, and is not kept. */
const unsealed = (row: Partly): Row => fine({ kept: false, ...row })
/** Fails before the first content, so it is tried again. */
const early = (row: Partly): Row => ({
  call: 'text.stream',
  ends: 'PROTOCOL',
  requests: 3,
  breaker: { failures: 3 },
  ...row,
})
/**
 * Breaks after the first words: the reader gets these and then the error, and nothing is tried
 * again.
 */
const broken = (row: Partly): Row => ({
  call: 'text.stream',
  ends: 'STREAM',
  text: BEGUN,
  error: { text: BEGUN, retryable: false, status: 502 },
  requests: 1,
  breaker: { failures: 1 },
  ...row,
})
/** Falls silent, one way or another. */
const late = (row: Partly): Row => ({ ...early(row), ends: 'TIMEOUT', clock: true, ...row })
const stalled = (row: Partly): Row => ({
  ...broken(row),
  ends: 'TIMEOUT',
  error: { phase: 'idle' },
  clock: true,
  ...row,
})
const tooLarge = (row: Partly): Row => ({
  call: 'text.stream',
  ends: 'TOO_LARGE',
  error: { retryable: false },
  requests: 1,
  breaker: {},
  ...row,
})

const ROLE = event(chunk({ role: 'assistant' }))
const FINISH = event(chunk({}, 'stop'))
const whole = (request: Received) => goodEvents(request).join('')
/** A whole stream of few bytes. */
const brief = (request: Received) => event(chunk({ content: words(request) }, 'stop')) + DONE
const words = ({ token }: Received) => goodText(token)
const CHUNKED_HEAD =
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'
const asChunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

/** A stream in which this follows the first words, and then a proper end. */
const mid = (text: string) =>
  stream((request) => begun(request) + text + event(chunk({ content: 'after' })) + FINISH + DONE)
const error = (code: number | string) => event({ error: { code, message: 'No.' } })

/** The proper events, written in another way. */
const written = (change: (events: string[], request: Received) => string) =>
  stream((request) => change(goodEvents(request), request))
const lines = (data: string) =>
  `data: ${JSON.stringify(JSON.parse(data.slice(6)), null, 1).replaceAll('\n', '\ndata: ')}\n\n`

const wellFormed: readonly Row[] = [
  fine({ fault: 'with CRLF', play: written((events) => events.join('').replaceAll('\n', '\r\n')) }),
  fine({
    fault: 'with CR',
    play: written((events) => `${events.join('').replaceAll('\n', '\r')}:\r`),
  }),
  fine({
    fault: 'with comments and blank lines',
    play: written((events) => `: hi\n\n\n${events.join(': ping\n\n\n')}`),
  }),
  fine({ fault: 'with a byte order mark', play: written((events) => `\ufeff${events.join('')}`) }),
  fine({
    fault: 'without spaces',
    play: written((events) => events.join('').replaceAll('data: ', 'data:')),
  }),
  fine({
    fault: 'with names, ids and retry times',
    play: written((events) =>
      events.map((one) => `event: chunk\nid: 1\nretry: 5\n${one}`).join(''),
    ),
  }),
  fine({
    fault: 'with unknown fields',
    play: written((events) => events.map((one) => `x: y\nnonsense\n${one}`).join('')),
  }),
  fine({
    fault: 'with events that span several lines',
    play: written((events) => events.map((one) => (one === DONE ? one : lines(one))).join('')),
  }),
  fine({ fault: 'with empty events', play: written((events) => events.join('data:\n\n')) }),
  fine({
    fault: 'with forty chunks that contain only a role',
    play: written((events) => ROLE.repeat(40) + events.join('')),
  }),
  fine({
    fault: 'with chunks without choices',
    play: written((events) => events.join(event({ choices: [] }))),
  }),
  fine({
    fault: 'in one chunk',
    play: written((_events, request) => event(chunk({ content: words(request) }, 'stop')) + DONE),
  }),
  fine({
    fault: 'byte by byte, with CRLF',
    play: pieces((request) => [STREAM_HEAD, ...brief(request).replaceAll('\n', '\r\n')]),
  }),
  fine({
    fault: 'byte by byte, each in its own HTTP chunk',
    play: pieces(
      (request) => [CHUNKED_HEAD, ...[...brief(request)].map(asChunk), '0\r\n\r\n'],
      'answered',
    ),
  }),
  fine({ fault: 'a word every four seconds', clock: true, play: wordByWord(4_000) }),
  fine({
    fault: 'non-ASCII text, split at any byte',
    play: pieces((request) =>
      cutUp(
        STREAM_HEAD +
          event(chunk({ content: `h\u00e9\ud83d\ude00 ${words(request)}` })) +
          FINISH +
          DONE,
      ),
    ),
    text: (token) => `h\u00e9\ud83d\ude00 ${goodText(token)}`,
  }),
  fine({
    fault: 'labelled "text/plain"',
    play: goodBut((bytes) => bytes.replace('text/event-stream', 'text/plain')),
  }),
  fine({
    fault: 'without a content type',
    play: goodBut((bytes) => bytes.replace('content-type: text/event-stream\r\n', '')),
  }),
  fine({ fault: 'a whole answer in JSON', play: json(goodCompletion) }),
  fine({ fault: 'a whole answer in JSON', call: 'chat.stream', play: json(goodCompletion) }),
  fine({
    fault: 'a chunk of 4 MiB',
    play: written(() => event(chunk({ content: 'x'.repeat(2 ** 22) }, 'stop')) + DONE),
    text: 'x'.repeat(2 ** 22),
  }),
  fine({
    fault: '__proto__ in chunks',
    call: 'chat.stream',
    play: written((events) => events.join('').replaceAll('{"', '{"__proto__":{"polluted":1},"')),
    also: () => expect('polluted' in {}).toBe(false),
  }),
  fine({
    fault: '__proto__ as an index',
    call: 'chat.stream',
    play: written(
      (events) =>
        event({ choices: [{ index: '__proto__', delta: { polluted: 1 } }] }) + events.join(''),
    ),
    also: () => expect('polluted' in {}).toBe(false),
  }),
  fine({
    fault: 'bytes that are not UTF-8',
    play: noUtf8,
    text: (token) => `\ufffd\ufffd${goodText(token)}`,
  }),
]

/** Sends the proper events at a pace. */
function wordByWord(everyMs: number): Play {
  return async (line) => {
    const events = goodEvents(line.request)
    await line.send(STREAM_HEAD)
    line.every(everyMs, () => {
      const next = events.shift()
      if (next === undefined) line.end()
      else line.send(next)
    })
  }
}
/** The proper stream behind a chunk of two bytes that no text has. */
function noUtf8(line: Line): unknown {
  const [before, behind] = event(chunk({ content: 'MARK' })).split('MARK') as [string, string]
  return says((request) =>
    Buffer.concat([
      Buffer.from(STREAM_HEAD + before),
      Buffer.from([0xff, 0xfe]),
      Buffer.from(behind + whole(request)),
    ]),
  )(line)
}
function cutUp(text: string): Uint8Array[] {
  const bytes = Buffer.from(text)
  return Array.from({ length: bytes.length }, (_, i) => bytes.subarray(i, i + 1))
}

const ends: readonly Row[] = [
  unsealed({
    fault: 'a finish reason, but no [DONE]',
    play: stream((request) => whole(request).replace(DONE, '')),
  }),
  unsealed({
    fault: 'a finish reason, but no [DONE]',
    call: 'chat.stream',
    play: stream((request) => whole(request).replace(DONE, '')),
  }),
  fine({ fault: '[DONE], but the connection stays open', play: stream(whole, 'silence') }),
  fine({
    fault: '[DONE], then more chunks',
    play: stream((request) => whole(request) + event(chunk({ content: 'GHOST' })).repeat(5)),
  }),
  fine({
    fault: '[DONE], then endless chunks',
    play: repeats((request) => STREAM_HEAD + whole(request), event(chunk({ content: 'GHOST' })), 5),
  }),
  fine({
    fault: '[DONE], then an error',
    play: stream((request) => whole(request) + error(500)),
  }),
  fine({ fault: '[DONE], then a reset', play: stream(whole, 'rst') }),
  fine({
    fault: 'a second stream that was not requested',
    play: says(
      (request) => goodBytes(request) + goodBytes({ ...request, token: 'GHOST' }),
      'answered',
    ),
  }),
  fine({ fault: '[DONE] twice', play: stream((request) => whole(request) + DONE) }),
  fine({
    fault: '[DONE] without the end of the chunked body',
    play: says((request) => CHUNKED_HEAD + asChunk(whole(request))),
  }),
]

const beforeAnything: readonly Row[] = [
  early({ fault: 'a cut in the head', play: says(STREAM_HEAD.slice(0, 30)), ends: 'NETWORK' }),
  early({ fault: 'an empty stream', play: stream(() => '') }),
  early({ fault: '[DONE] alone', play: stream(() => DONE) }),
  early({ fault: 'an end after the role', play: stream(() => ROLE) }),
  early({ fault: 'a cut in the first event', play: stream(() => ROLE.slice(0, -2)) }),
  early({
    fault: 'a cut after the role',
    play: says(CHUNKED_HEAD + asChunk(ROLE)),
    ends: 'NETWORK',
  }),
  early({
    fault: 'a reset after the role',
    play: says(CHUNKED_HEAD + asChunk(ROLE), 'rst'),
    ends: 'NETWORK',
  }),
  early({ fault: 'a reset after the role, length unknown', play: stream(() => ROLE, 'rst') }),
  early({ fault: 'an error first', play: stream(() => error('x')), ends: 'SERVER' }),
  early({
    fault: 'an error after the role',
    play: stream(() => ROLE + error(503)),
    ends: 'SERVER',
  }),
  early({
    fault: 'an error event',
    play: stream(({ body }) => `event: error\ndata: ${body}\n\n`),
    ends: 'SERVER',
  }),
  early({
    fault: 'an error with status 429',
    play: stream(() => error(429)),
    ends: 'RATE_LIMITED',
    breaker: {},
  }),
  early({
    fault: 'an error with status 400',
    play: stream(() => error(400)),
    ends: 'BAD_REQUEST',
    requests: 1,
    breaker: {},
  }),
  early({
    fault: 'an error in a chunk with choices',
    play: stream(() => event(chunk({}, 'error', { error: { code: 502 } }))),
    ends: 'SERVER',
  }),
  early({
    fault: 'one error, then a stream',
    play: [stream(() => ROLE + error(503))],
    ends: 'answer',
    requests: 2,
    breaker: { failures: 1, successes: 1 },
  }),
  early({
    fault: 'one cut, then a stream',
    play: [says(CHUNKED_HEAD + asChunk(ROLE))],
    ends: 'answer',
    requests: 2,
    breaker: { failures: 1, successes: 1 },
  }),
  early({ fault: 'bad JSON', play: stream(({ body }) => `${ROLE}data: ${body.slice(1)}\n\n`) }),
  ...['5', 'null', '[1]', '"text"', '{"choices":{}}', '{"choices":[null]}'].map((data) =>
    early({ fault: `an event that is ${data}`, play: stream(() => event(data)) }),
  ),
  early({
    fault: 'a web page',
    play: answers(200, (request) => `<html>${request.body}`, { 'content-type': 'text/html' }),
  }),
  early({
    fault: 'a web page labelled as a stream',
    play: stream((request) => `<html>${request.body}</html>\n\n`),
  }),
  early({ fault: 'an empty body labelled as JSON', play: json('') }),
  early({ fault: 'JSON with the wrong structure', play: json('{"a":1}') }),
  early({ fault: 'an error in JSON', play: json('{"error":{"message":"No."}}'), ends: 'SERVER' }),
  early({ fault: 'an image', play: answers(200, '\u0089PNG', { 'content-type': 'image/png' }) }),
  early({
    fault: 'gzip that was not requested',
    play: goodBut((bytes) => bytes.replace('\r\n', '\r\ncontent-encoding: gzip\r\n')),
  }),
  late({
    fault: 'a head, then silence',
    play: says(STREAM_HEAD, 'silence'),
    error: { phase: 'first-token' },
  }),
  late({
    fault: 'the role, then silence',
    play: stream(() => ROLE, 'silence'),
    error: { phase: 'first-token' },
  }),
  late({
    fault: 'endless heartbeats',
    play: repeats(STREAM_HEAD, ': ping\n\n', 1_000),
    error: { phase: 'first-token' },
  }),
  late({
    fault: 'endless empty events',
    play: repeats(STREAM_HEAD, 'data:\n\n', 1_000),
    error: { phase: 'first-token' },
  }),
  late({
    fault: 'the role again and again',
    play: repeats(STREAM_HEAD, ROLE, 1_000),
    error: { phase: 'first-token' },
  }),
]

const midStream: readonly Row[] = [
  broken({ fault: 'an end', play: stream(begun), error: { cause: { code: 'PROTOCOL' } } }),
  broken({ fault: 'an end', call: 'chat.stream', play: stream(begun) }),
  broken({ fault: 'an end with [DONE]', play: stream((request) => begun(request) + DONE) }),
  broken({
    fault: 'an end in an event',
    play: stream((request) => begun(request) + event(chunk({ content: 'half' })).slice(0, -2)),
  }),
  broken({
    fault: 'a cut',
    play: says((request) => CHUNKED_HEAD + asChunk(begun(request))),
    error: { cause: { code: 'NETWORK' } },
  }),
  broken({
    fault: 'a reset',
    play: says((request) => CHUNKED_HEAD + asChunk(begun(request)), 'rst'),
    error: { cause: { code: 'NETWORK' } },
  }),
  broken({
    fault: 'a reset, length unknown',
    play: stream(begun, 'rst'),
    error: { cause: { code: 'PROTOCOL' } },
  }),
  broken({
    fault: 'a finish reason that is not text',
    play: stream((request) => begun(request) + event(chunk({}, 5 as never)) + DONE),
  }),
  broken({
    fault: 'a reset before the announced length',
    play: says(
      (request) =>
        answer('200 OK', begun(request), 'content-type: text/event-stream').replace(
          /length: \d+/,
          'length: 9999',
        ),
      'rst',
    ),
  }),
  broken({
    fault: 'a chunk whose size is not a number',
    play: says((request) => `${CHUNKED_HEAD}${asChunk(begun(request))}zz\r\n`),
    error: { cause: { code: 'PROTOCOL' } },
  }),
  broken({ fault: 'an error', play: mid(error(503)), error: { cause: { code: 'SERVER' } } }),
  broken({
    fault: 'an error event',
    play: mid('event: error\ndata: x\n\n'),
    error: { cause: { code: 'SERVER' } },
  }),
  broken({
    fault: 'an error with status 400',
    play: mid(error(400)),
    breaker: { failures: 1 },
    error: { cause: { code: 'BAD_REQUEST' } },
  }),
  broken({
    fault: 'an error in a chunk with choices',
    play: mid(event(chunk({ content: '' }, 'error', { error: {} }))),
    error: { cause: { code: 'SERVER' } },
  }),
  broken({
    fault: 'bad JSON',
    play: mid('data: {"choices":[{\n\n'),
    error: { cause: { code: 'PROTOCOL' } },
  }),
  broken({ fault: 'a web page', play: mid('data: <html>\n\n') }),
  broken({ fault: 'an event that is 5', play: mid('data: 5\n\n') }),
  broken({
    fault: 'a reset after the finish reason',
    play: says((request) => CHUNKED_HEAD + asChunk(whole(request).replace(DONE, '')), 'rst'),
    text: goodText,
    error: { cause: { code: 'NETWORK' } },
  }),
  stalled({ fault: 'silence', play: stream(begun, 'silence') }),
  stalled({ fault: 'silence', call: 'chat.stream', play: stream(begun, 'silence') }),
  stalled({
    fault: 'endless heartbeats',
    play: repeats((request) => STREAM_HEAD + begun(request), ': ping\n\n', 1_000),
  }),
  stalled({
    fault: 'half an event, at one byte per second',
    play: drips((request) => STREAM_HEAD + begun(request), `data: ${'x'.repeat(1_000)}`, 1_000),
  }),
  stalled({
    fault: 'a finish reason, then silence',
    play: stream((request) => whole(request).replace(DONE, ''), 'silence'),
    text: goodText,
  }),
]

const LARGE = 'x'.repeat(2 ** 18)
const sizes: readonly Row[] = [
  tooLarge({
    fault: 'an endless line',
    play: repeats(`${STREAM_HEAD}data: {"choices":[{"delta":{"content":"`, LARGE, 'at once'),
  }),
  tooLarge({
    fault: 'a line of 64 MB',
    play: repeats(`${STREAM_HEAD}data: `, LARGE, 'at once', 64e6),
  }),
  tooLarge({ fault: 'an endless comment', play: repeats(`${STREAM_HEAD}:`, LARGE, 'at once') }),
  tooLarge({
    fault: 'an event with endless lines',
    play: repeats(STREAM_HEAD, 'data: x\n'.repeat(2 ** 15), 'at once'),
  }),
  tooLarge({
    fault: 'an endless line after the first words',
    play: repeats((request) => `${STREAM_HEAD}${begun(request)}data: `, LARGE, 'at once'),
    text: BEGUN,
  }),
]

export const streams: Group = {
  title: 'Streams',
  rows: [
    ...titled('well formed', wellFormed),
    ...titled('the end', ends),
    ...titled('before the first content', beforeAnything),
    ...titled('in the middle', midStream),
    ...titled('size', sizes),
  ],
}

function titled(kind: string, rows: readonly Row[]): Row[] {
  return rows.map((row) => ({ ...row, fault: `${kind}: ${row.fault}` }))
}
