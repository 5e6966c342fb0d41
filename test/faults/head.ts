import { answers, drips, goodBut, hangUp, pieces, reset, says } from '../support/fault-plays.js'
import { goodBytes, goodCompletion } from '../support/good-answers.js'
import { answer } from '../support/wire.js'
import { fine, late, network, protocol } from './outcomes.js'
import type { Group, Row } from './row.js'

/** The proper answer with its status line changed. */
const statusLine = (line: string): Row =>
  protocol({
    fault: `a status line that reads "${line}"`,
    play: goodBut((bytes) => bytes.replace('HTTP/1.1 200 OK', line), 'fin'),
  })
/** The proper answer with one more header. */
const withHeader = (line: string) =>
  goodBut((bytes) => bytes.replace('\r\n', `\r\n${line}\r\n`), 'fin')
/** The proper answer with other headers about its length. */
const lengths = (lines: string) =>
  goodBut((bytes) => bytes.replace(/content-length: \d+/, lines), 'fin')

const early = (statuses: string) => goodBut((bytes) => statuses + bytes)

export const head: Group = {
  title: 'Before the answer and in its headers',
  rows: [
    network({ fault: 'a reset before the head', play: reset }),
    network({ fault: 'a reset before the head', call: 'text.stream', play: reset }),
    network({ fault: 'a reset before the head', call: 'image.generate', play: reset }),
    network({ fault: 'an end before the head', play: hangUp }),
    network({ fault: 'an end before the head', call: 'text.stream', play: hangUp }),
    network({
      fault: 'one reset, then an answer',
      play: [reset],
      ends: 'answer',
      requests: 2,
      breaker: { failures: 1, successes: 1 },
    }),
    network({ fault: 'a cut in the status line', play: says('HTTP/1.1 20') }),
    network({ fault: 'a cut in a header', play: says('HTTP/1.1 200 OK\r\ncontent-le') }),
    network({ fault: 'a reset in a header', play: says('HTTP/1.1 200 OK\r\ncontent-le', 'rst') }),
    network({
      fault: 'a cut after informational responses',
      play: says('HTTP/1.1 103 Early Hints\r\n\r\n'),
    }),
    late({
      fault: 'silence after an informational response',
      play: says('HTTP/1.1 103 Early Hints\r\n\r\n', 'silence'),
    }),
    late({ fault: 'a head at one byte per second', play: drips('', goodBytes, 1_000) }),
    late({
      fault: 'a head at one byte per second',
      call: 'text.stream',
      play: drips('', goodBytes, 1_000),
      error: { phase: 'first-token' },
    }),
    late({ fault: 'a status line, then silence', play: says('HTTP/1.1 200 OK\r\n', 'silence') }),
    protocol({
      fault: 'a header of 1 MiB',
      play: withHeader(`x-big: ${'x'.repeat(2 ** 20)}`),
      requests: 1,
      breaker: { failures: 1 },
    }),
    protocol({
      fault: 'ten thousand headers',
      play: withHeader(
        Array.from({ length: 10_000 }, (_, i) => `x-header-${i}: ${i}`).join('\r\n'),
      ),
      requests: 1,
      breaker: { failures: 1 },
    }),
    ...[
      'HTTP/1.1 abc OK',
      'HTTP/1.1 -1 OK',
      'HTTP/1.1 20 OK',
      'HTTP/9.9 200 OK',
      'HTTP 200 OK',
    ].map(statusLine),
    protocol({ fault: 'bytes that are not HTTP', play: says('{"choices":[]}') }),
    protocol({ fault: 'a header with a control character', play: withHeader('x-bad: a\u0001b') }),
    protocol({ fault: 'a header with a NUL', play: withHeader('x-bad: a\u0000b') }),
    protocol({ fault: 'a header name with a space', play: withHeader('bad name: a') }),
    protocol({ fault: 'a header without a colon', play: withHeader('bad') }),
    protocol({
      fault: 'a head that contains the key and the prompt',
      play: says(
        ({ headers, body }) => `HTTP/1.1 200 OK\r\n${headers.authorization} ${body}\r\n\r\n`,
      ),
    }),
    ...['banana', '-5', '1e3', '99999999999999999999999'].map((length) =>
      protocol({
        fault: `a content-length of ${length}`,
        play: lengths(`content-length: ${length}`),
      }),
    ),
    protocol({
      fault: 'two different content-lengths',
      play: lengths('content-length: 5\r\ncontent-length: 6'),
    }),
    protocol({
      fault: 'a length and chunked encoding',
      play: lengths('content-length: 5\r\ntransfer-encoding: chunked'),
    }),
    protocol({
      fault: 'a chunk whose size is not a number',
      play: says('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n'),
    }),
    fine({
      fault: '102 and 103 responses first',
      play: early('HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'),
    }),
    fine({
      fault: 'a 103 response first',
      call: 'text.stream',
      play: early('HTTP/1.1 103 Early Hints\r\n\r\n'),
    }),
    fine({
      fault: 'fifty informational responses first',
      play: early('HTTP/1.1 102 Processing\r\n\r\n'.repeat(50)),
    }),
    network({ fault: 'an unexpected 100 response', play: early('HTTP/1.1 100 Continue\r\n\r\n') }),
    network({
      fault: 'an unexpected 101 response',
      play: early('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
    }),
    fine({
      fault: 'a head sent byte by byte',
      play: pieces((request) => goodBytes(request).split(''), 'answered'),
    }),
    fine({
      fault: 'HTTP/1.0, where the end of the connection ends the body',
      play: says((request) => `HTTP/1.0 200 OK\r\n\r\n${goodCompletion(request)}`),
    }),
    fine({
      fault: 'chunks with extensions and trailers',
      play: says((request) => {
        const text = goodCompletion(request)
        const [first, rest] = [text.slice(0, 7), text.slice(7)]
        return `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7;a=b\r\n${first}\r\n${rest.length.toString(16)}\r\n${rest}\r\n0\r\nx-trailer: y\r\n\r\n`
      }, 'answered'),
    }),
    fine({
      fault: 'a second response that was not requested',
      play: says(
        (request) => goodBytes(request) + answer('200 OK', goodCompletion({ token: 'GHOST' })),
        'answered',
      ),
    }),
    fine({
      fault: 'extra bytes after the response',
      play: says((request) => `${goodBytes(request)}GHOST`, 'answered'),
    }),
    protocol({
      fault: 'an empty response (204)',
      play: answers(204, '', { 'content-length': '0' }),
    }),
    protocol({ fault: 'an empty response (205)', play: answers(205) }),
    fine({
      fault: 'an answer with status 201',
      play: goodBut((bytes) => bytes.replace('200 OK', '201 Created')),
    }),
  ],
}
