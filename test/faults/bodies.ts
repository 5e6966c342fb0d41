import { gzipSync } from 'node:zlib'
import { expect } from 'vitest'
import { answers, drips, goodBut, json, pieces, repeats, says } from '../support/fault-plays.js'
import { goodBytes, goodCompletion, goodText } from '../support/good-answers.js'
import { completion } from '../support/wire.js'
import { fine, late, network, type Partly, protocol } from './outcomes.js'
import type { Group, Method, Row } from './row.js'

const tooLarge = (row: Partly): Row => ({
  ends: 'TOO_LARGE',
  error: { retryable: false },
  requests: 1,
  breaker: {},
  ...row,
})

/** All but the last of a proper answer. */
const most = (bytes: string) => bytes.slice(0, -20)
const headOf = (bytes: string) => bytes.slice(0, bytes.indexOf('\r\n\r\n') + 4)
const bodyOf = (bytes: string) => bytes.slice(bytes.indexOf('\r\n\r\n') + 4)
const CALLS: readonly Method[] = [
  'text.generate',
  'chat.create',
  'image.generate',
  'embeddings.create',
]
const JSON_CALLS: readonly Method[] = ['text.generate', 'embeddings.create']

const OPEN = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n'
const CHUNKED =
  'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n'
const labelled = (type: string) =>
  goodBut((bytes) =>
    bytes.replace(/content-type: [^\r]*\r\n/, type === '' ? '' : `content-type: ${type}\r\n`),
  )
const tool = { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }

/** A picture that ends with its connection. */
const picture = (ending: 'fin' | 'rst') =>
  says(
    ({ token }) =>
      `HTTP/1.1 200 OK\r\ncontent-type: image/png\r\nconnection: close\r\n\r\n${goodText(token)}`,
    ending,
  )

const noPollution = () => expect(({} as { polluted?: unknown }).polluted).toBeUndefined()

export const bodies: Group = {
  title: 'Bodies',
  rows: [
    ...CALLS.flatMap((call) => [
      network({ fault: 'an end before the announced length', call, play: goodBut(most, 'fin') }),
      network({ fault: 'a reset in the body', call, play: goodBut(most, 'rst') }),
    ]),
    network({ fault: 'an end in a chunk', play: says(`${CHUNKED}ff\r\n{"id":`) }),
    network({ fault: 'an end between chunks', play: says(`${CHUNKED}6\r\n{"id":\r\n`) }),
    protocol({
      fault: 'an end in a body of unknown length',
      play: says((request) => OPEN + most(goodCompletion(request))),
    }),
    late({
      fault: 'a body at one byte per second',
      play: drips(
        (request) => headOf(goodBytes(request)),
        (request) => bodyOf(goodBytes(request)),
        1_000,
      ),
    }),
    late({
      fault: 'a body at one byte per second',
      call: 'image.generate',
      play: drips(
        (request) => headOf(goodBytes(request)),
        (request) => bodyOf(goodBytes(request)),
        1_000,
      ),
    }),
    late({ fault: 'half a body, then silence', play: goodBut(most, 'silence') }),
    late({ fault: 'a head, then silence', play: goodBut(headOf, 'silence') }),
    late({
      fault: 'endless spaces, one per second',
      play: repeats(CHUNKED, '1\r\n \r\n', 1_000),
    }),
    ...JSON_CALLS.flatMap((call) => [
      protocol({
        fault: 'malformed JSON',
        call,
        play: json((request) => `${goodCompletion(request)}}`),
      }),
      protocol({
        fault: 'truncated JSON',
        call,
        play: json((request) => most(goodCompletion(request))),
      }),
      protocol({ fault: 'an empty body', call, play: json('') }),
      protocol({
        fault: 'a web page',
        call,
        play: answers(200, (request) => `<html>${request.body}</html>`, {
          'content-type': 'text/html',
        }),
      }),
      protocol({
        fault: 'a web page labelled as JSON',
        call,
        play: json((request) => `<html>${request.body}</html>`),
      }),
    ]),
    protocol({
      fault: 'truncated JSON that contains the prompt',
      play: json(({ body }) => `{"text":${body}`),
    }),
    protocol({
      fault: 'a NUL in JSON',
      play: json((request) => `${goodCompletion(request)}\u0000`),
    }),
    ...[
      'null',
      '5',
      '"text"',
      '[]',
      '{}',
      '{"choices":null}',
      '{"choices":[]}',
      '{"choices":[null]}',
      '{"choices":[{}]}',
      '{"choices":[{"message":"x"}]}',
      '{"choices":{"0":{"message":{}}}}',
    ].map((shape) =>
      protocol({ fault: `JSON with the wrong structure: ${shape}`, play: json(shape) }),
    ),
    ...[
      '{}',
      '{"data":[]}',
      '{"data":[{"index":0}]}',
      '{"data":[{"index":7,"embedding":[1]}]}',
    ].map((shape) =>
      protocol({
        fault: `JSON with the wrong structure: ${shape}`,
        call: 'embeddings.create',
        play: json(shape),
      }),
    ),
    fine({
      fault: 'an image of unknown length',
      call: 'image.generate',
      play: picture('fin'),
      kept: false,
    }),
    // HTTP cannot tell it from a whole one.
    fine({
      fault: 'an image of unknown length that is reset',
      call: 'image.generate',
      play: picture('rst'),
      kept: false,
    }),
    protocol({
      fault: 'JSON instead of an image',
      call: 'image.generate',
      play: json('{"url":"x"}'),
    }),
    protocol({
      fault: 'a web page instead of an image',
      call: 'image.generate',
      play: answers(200, '<p>', { 'content-type': 'text/html' }),
    }),
    protocol({
      fault: 'an empty image',
      call: 'image.generate',
      play: answers(200, '', { 'content-type': 'image/png' }),
    }),
    protocol({
      fault: 'an image without a content type',
      call: 'image.generate',
      play: labelled(''),
    }),
    network({
      fault: 'an error in an answer with status 200',
      play: json('{"error":{"message":"No."}}'),
      ends: 'SERVER',
    }),
    network({
      fault: 'an error with status 429 in an answer with status 200',
      play: json('{"error":{"code":429}}'),
      ends: 'RATE_LIMITED',
      breaker: {},
    }),
    network({
      fault: 'an error with status 400 in an answer with status 200',
      play: json('{"error":{"code":400}}'),
      ends: 'BAD_REQUEST',
      requests: 1,
      breaker: {},
    }),
    network({
      fault: 'an error instead of an image',
      call: 'image.generate',
      play: json('{"error":{"message":"No."}}'),
      ends: 'SERVER',
    }),
    ...['text/plain', 'application/octet-stream', 'application/problem+json', 'nonsense', ''].map(
      (type) => fine({ fault: `good JSON labelled "${type}"`, play: labelled(type) }),
    ),
    protocol({
      fault: 'good JSON labelled "text/html"',
      play: labelled('text/html; charset=utf-8'),
    }),
    fine({
      fault: 'a body sent byte by byte',
      play: pieces(
        (request) => [headOf(goodBytes(request)), ...bodyOf(goodBytes(request))],
        'answered',
      ),
    }),
    fine({
      fault: 'a byte order mark',
      play: json((request) => `\ufeff${goodCompletion(request)}`),
    }),
    fine({
      fault: 'a tool call without content',
      call: 'chat.create',
      play: json(JSON.stringify(completion(null, { tool_calls: [tool] }))),
      text: 'null',
    }),
    fine({
      fault: 'a tool call without content',
      play: json(JSON.stringify(completion(null, { tool_calls: [tool] }))),
      text: '',
    }),
    fine({
      fault: 'empty content',
      play: json(JSON.stringify(completion(''))),
      text: '',
      kept: false,
    }),
    fine({
      fault: 'content that is not text',
      play: json(JSON.stringify(completion(5 as never))),
      text: '',
    }),
    fine({
      fault: 'bytes that are not UTF-8',
      play: json(Buffer.from(JSON.stringify(completion('a\u00ff')), 'latin1')),
      text: 'a\ufffd',
    }),
    fine({
      fault: '__proto__ in the answer',
      call: 'chat.create',
      play: json(({ token }) =>
        JSON.stringify(completion(goodText(token))).replaceAll(
          '{"',
          '{"__proto__":{"polluted":1},"',
        ),
      ),
      also: noPollution,
    }),
    fine({
      fault: 'constructor.prototype in the answer',
      play: json(({ token }) =>
        JSON.stringify({
          ...completion(goodText(token)),
          constructor: { prototype: { polluted: 1 } },
        }),
      ),
      also: noPollution,
    }),
    protocol({
      fault: 'JSON nested 200,000 deep',
      play: json('['.repeat(200_000) + ']'.repeat(200_000)),
    }),
    protocol({
      fault: 'invalid gzip',
      play: goodBut((bytes) => bytes.replace('\r\n', '\r\ncontent-encoding: gzip\r\n')),
    }),
    protocol({
      fault: 'gzip that was not requested',
      play: answers(200, (request) => gzipSync(goodCompletion(request)), {
        'content-encoding': 'gzip',
        'content-type': 'application/json',
      }),
    }),
    protocol({
      fault: 'truncated gzip',
      play: answers(200, (request) => gzipSync(goodCompletion(request)).subarray(0, 30), {
        'content-encoding': 'gzip',
      }),
    }),
    protocol({
      fault: 'a gzip bomb',
      play: answers(200, () => gzipSync(Buffer.alloc(2 ** 22)), { 'content-encoding': 'gzip' }),
    }),
    protocol({
      fault: 'an unknown encoding',
      play: goodBut((bytes) => bytes.replace('\r\n', '\r\ncontent-encoding: rot13\r\n')),
    }),
    protocol({
      fault: 'gzip without a content-encoding',
      play: json((request) => gzipSync(goodCompletion(request))),
    }),
    tooLarge({
      fault: 'a body of 48 MiB',
      play: says(
        `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${48 * 2 ** 20}\r\n\r\n`,
        'silence',
      ),
    }),
    tooLarge({ fault: 'an endless body', play: repeats(OPEN, ' '.repeat(2 ** 18), 'at once') }),
    tooLarge({
      fault: 'an endless image',
      call: 'image.generate',
      play: repeats(OPEN.replace('application/json', 'image/png'), ' '.repeat(2 ** 18), 'at once'),
    }),
  ],
}
