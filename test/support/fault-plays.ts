import { setTimeout as delay } from 'node:timers/promises'
import type { Line, Play, Received } from './fault-upstream.js'
import { goodBytes, goodEvents } from './good-answers.js'
import { turn } from './watch.js'
import { STREAM_HEAD } from './wire.js'

/** Bytes, or how they are made for a request. */
type Bytes = string | Uint8Array | ((request: Received) => string | Uint8Array)
type Ending = 'fin' | 'rst' | 'silence' | 'answered'

const bytesFor = (bytes: Bytes, request: Received): string | Uint8Array =>
  typeof bytes === 'function' ? bytes(request) : bytes

async function finish(line: Line, ending: Ending): Promise<void> {
  if (ending === 'fin') line.end()
  else if (ending === 'answered') line.answered()
  else if (ending === 'rst') {
    // A reset throws away what has not been read yet: the pause lets it arrive.
    await delay(15)
    line.reset()
  }
}

/** Resets the connection at once. */
export const reset: Play = (line) => line.reset()
/** Ends the connection without a word. */
export const hangUp: Play = (line) => line.end()
/** Does nothing at all. */
export const silent: Play = () => {}

/** Sends these bytes in one piece, and ends so. */
export const says =
  (bytes: Bytes, ending: Ending = 'fin'): Play =>
  async (line) => {
    await line.send(bytesFor(bytes, line.request))
    await finish(line, ending)
  }

/** Sends pieces with a turn of the event loop between them, and ends so. */
export const pieces =
  (parts: (request: Received) => Iterable<string | Uint8Array>, ending: Ending = 'fin'): Play =>
  async (line) => {
    for (const part of parts(line.request)) {
      if (line.gone) return
      await line.send(part)
      await turn()
    }
    await finish(line, ending)
  }

/** Sends the first bytes at once and the rest byte by byte, at this pace. */
export const drips =
  (start: Bytes, rest: Bytes, everyMs: number): Play =>
  async (line) => {
    await line.send(bytesFor(start, line.request))
    const bytes = Buffer.from(bytesFor(rest, line.request))
    let at = 0
    line.every(everyMs, () => {
      if (at < bytes.length) line.send(bytes.subarray(at, ++at))
    })
  }

/**
 * Sends the first bytes, and then this again and again: at a pace, or as fast as they are taken.
 */
export const repeats =
  (
    start: Bytes,
    block: Bytes,
    everyMs: number | 'at once',
    most = Number.POSITIVE_INFINITY,
  ): Play =>
  async (line) => {
    await line.send(bytesFor(start, line.request))
    const piece = bytesFor(block, line.request)
    if (everyMs !== 'at once') return line.every(everyMs, () => line.send(piece))
    for (let sent = 0; sent < most && !line.gone; sent += piece.length) await line.send(piece)
  }

/** A proper answer, changed. */
export const goodBut =
  (change: (bytes: string, request: Received) => string, ending: Ending = 'answered'): Play =>
  (line) =>
    says((request) => change(goodBytes(request), request), ending)(line)

/** An answer of this status, its length told, over a connection that stays. */
export const answers = (
  status: number | string,
  body: Bytes = '',
  headers: Readonly<Record<string, string>> = {},
): Play =>
  says((request) => {
    const bytes = Buffer.from(bytesFor(body, request))
    const lines = Object.entries({ 'content-length': String(bytes.length), ...headers }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    )
    return Buffer.concat([
      Buffer.from(
        `HTTP/1.1 ${status}${typeof status === 'number' ? ' Status' : ''}\r\n${lines.join('')}\r\n`,
      ),
      bytes,
    ])
  }, 'answered')

/** A body labelled as JSON. */
export const json = (body: Bytes, status = 200): Play =>
  answers(status, body, { 'content-type': 'application/json' })

/** An event stream whose end is the connection's. */
export const stream = (events: (request: Received) => string, ending: Ending = 'fin'): Play =>
  says((request) => STREAM_HEAD + events(request), ending)

/** The role and the first words of a proper stream: one chunk has been committed. */
export const begun = (request: Received): string => goodEvents(request).slice(0, 2).join('')
/** What the reader has of it. */
export const BEGUN = 'An '

/** The model that a request asks for. */
const modelIn = ({ body }: Received): string =>
  String((JSON.parse(body) as { model?: unknown }).model ?? 'openai')

/** Plays by the model that is asked for; the others answer properly, in words of their own. */
export const byModel =
  (plays: Readonly<Record<string, Play>>): Play =>
  (line) =>
    (plays[modelIn(line.request)] ?? inOtherWords)(line)

/** A proper answer in other words: another model's. */
const inOtherWords = goodBut((bytes) => bytes.replaceAll('"An ', '"My '))
/** The whole of it, and what a reader has when one chunk has been committed. */
export const otherWords = (text: string): string => text.replace(/^An /, 'My ')
export const OTHER_BEGUN = otherWords(BEGUN)
export const otherBegun = (request: Received): string => begun(request).replaceAll('"An ', '"My ')

/** Plays this when so much time has passed. */
export const after =
  (ms: number, play: Play): Play =>
  (line) => {
    const timer = setTimeout(() => play(line), ms)
    line.socket.once('close', () => clearTimeout(timer))
  }
