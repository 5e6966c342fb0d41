import { expect } from 'vitest'
import {
  answers,
  BEGUN,
  begun,
  byModel,
  goodBut,
  hangUp,
  json,
  OTHER_BEGUN,
  otherBegun,
  otherWords,
  silent,
  stream,
} from '../support/fault-plays.js'
import type { Play } from '../support/fault-upstream.js'
import { goodText } from '../support/good-answers.js'
import { answer, chunk, completion, event } from '../support/wire.js'
import type { Group, Row } from './row.js'

const error = (status: number, more: object = {}): Play =>
  json(JSON.stringify({ error: { message: 'No.', ...more } }), status)

const TO_MODEL = { fallback: { to: ['mistral'], when: undefined } }
const theirs = (token: string) => otherWords(goodText(token))

/** The model asked for fails so, and another one answers. */
const instead = (fault: string, play: Play, rest: Partial<Row> = {}): Row => ({
  fault,
  layers: TO_MODEL,
  play: byModel({ openai: play }),
  ends: 'answer',
  text: theirs,
  requests: 2,
  breaker: { successes: 1 },
  ...rest,
})

/** The model asked for fails so, and nobody else is asked. */
const alone = (fault: string, play: Play, ends: Row['ends'], rest: Partial<Row> = {}): Row => ({
  fault,
  layers: TO_MODEL,
  play: byModel({ openai: play }),
  ends,
  requests: 1,
  breaker: {},
  ...rest,
})

/** The first client is down, and the other client does this. */
const elsewhere = (fault: string, rest: Partial<Row>): Row => ({
  fault,
  layers: (client) => ({ fallback: { to: [{ client }], when: undefined } }),
  play: error(500),
  other: { requests: 1 },
  ends: 'answer',
  requests: 3,
  breaker: { failures: 3 },
  ...rest,
})

const NOTICE =
  'The API key used for this request has reached its budget. See https://enter.pollinations.ai'
const ZERO = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }
const notice: Play = (line) =>
  answers(200, JSON.stringify(completion(NOTICE, {}, { usage: ZERO })), {
    'content-type': 'application/json',
    'cache-control': 'private, no-store',
  })(line)

const empty = (line: Parameters<Play>[0]) =>
  goodBut(() => answer('200 OK', JSON.stringify(completion('')), 'content-type: application/json'))(
    line,
  )
const isNotEmpty = (body: unknown) =>
  (body as { choices: { message: { content: string } }[] }).choices[0]?.message.content !== ''

/** How many errors a failure has behind it. */
const causesOf = (failure: unknown): number => {
  const { cause } = failure as { cause?: unknown }
  return cause === undefined ? 0 : 1 + causesOf(cause)
}

const failures: readonly Row[] = [
  ...[401, 402, 403, 404].map((status) => instead(`${status}`, error(status))),
  instead('401', error(401), { call: 'text.stream' }),
  instead('an answer with status 200 that reports a used-up balance', notice),
  ...[408, 500, 503].map((status) =>
    instead(`${status}`, error(status), {
      requests: 4,
      breaker: { failures: 3, successes: 1 },
    }),
  ),
  instead('429', error(429), { clock: true, requests: 4 }),
  instead('429 for an hour, for this model only', answers(429, '', { 'retry-after': '3600' }), {
    layers: { ...TO_MODEL, pool: { gate: 'model' }, queue: { gate: 'model' } },
    clock: true,
  }),
  instead('no answer in time', silent, {
    clock: true,
    requests: 4,
    breaker: { failures: 3, successes: 1 },
  }),
  instead('an end before the head', hangUp, {
    requests: 4,
    breaker: { failures: 3, successes: 1 },
  }),
  instead('503, and the circuit of the model opens', error(503), {
    layers: { ...TO_MODEL, breaker: { key: 'model', minimumCalls: 3, resetMs: 1_000 } },
    clock: true,
    requests: 4,
    breaker: { failures: 3, successes: 1, state: 'open' },
    also: async (_outcome, scene) => {
      const next = await scene.ask('text.generate', `${scene.token}.n`)
      expect(next.text).toBe(theirs(`${scene.token}.n`))
      expect(scene.requestsOf(`${scene.token}.n`)).toBe(1)
    },
  }),
  instead('an empty answer, which `accept` rejects', empty, {
    layers: { fallback: { ...TO_MODEL.fallback, accept: isNotEmpty } },
    breaker: { successes: 2 },
  }),
  instead('empty answers of both models, which `accept` rejects', empty, {
    play: byModel({ openai: empty, mistral: empty }),
    layers: { fallback: { ...TO_MODEL.fallback, accept: isNotEmpty } },
    breaker: { successes: 2 },
    text: '',
    kept: false,
  }),
]

const refusals: readonly Row[] = [
  alone('400', error(400), 'BAD_REQUEST'),
  alone('422', error(422), 'BAD_REQUEST'),
  alone(
    '400 because of the content',
    error(400, { code: 'content_policy_violation' }),
    'BAD_REQUEST',
  ),
  alone('403 because of the content', error(403, { type: 'safety_error' }), 'FORBIDDEN'),
  alone('500 because of the content', error(500, { code: 'content_filter' }), 'SERVER', {
    requests: 3,
    breaker: { failures: 3 },
  }),
  alone('401 for a key that the call brought', error(401), 'AUTH', {
    layers: (client) => ({ fallback: { to: [{ client }], when: undefined } }),
    options: { apiKey: 'sk_Of_the_caller' },
    other: { requests: 0 },
  }),
  alone('404 for embeddings, whose model is never replaced', error(404), 'NOT_FOUND', {
    call: 'embeddings.create',
  }),
]

const streams: readonly Row[] = [
  instead(
    'a stream that ends before its first content',
    stream(() => event(chunk({ role: 'a' }))),
    {
      call: 'text.stream',
      requests: 4,
      breaker: { failures: 3, successes: 1 },
    },
  ),
  alone('a stream that ends after its first content', stream(begun), 'STREAM', {
    call: 'text.stream',
    text: BEGUN,
    breaker: { failures: 1 },
  }),
  alone('a stream that falls silent after its first content', stream(begun, 'silence'), 'TIMEOUT', {
    call: 'text.stream',
    text: BEGUN,
    error: { phase: 'idle' },
    clock: true,
    breaker: { failures: 1 },
  }),
  instead('500, and the stream of the other model ends after its first content', error(500), {
    call: 'text.stream',
    play: byModel({ openai: error(500), mistral: stream(otherBegun) }),
    ends: 'STREAM',
    text: OTHER_BEGUN,
    requests: 4,
    breaker: { failures: 4 },
  }),
]

const bothFail: readonly Row[] = [
  instead('500 from all three models', error(500), {
    layers: {
      fallback: { to: ['mistral', 'openai-large'], when: undefined },
      breaker: { key: 'model' },
    },
    play: error(500),
    ends: 'SERVER',
    text: '',
    requests: 9,
    breaker: { failures: 9 },
    also: (outcome) => expect(causesOf(outcome.error)).toBe(2),
  }),
  instead('500, and the deadline passes while the other model is silent', error(500), {
    play: byModel({ openai: error(500), mistral: silent }),
    options: { timeoutMs: 5_000 },
    clock: true,
    ends: 'TIMEOUT',
    text: '',
    requests: 4,
    breaker: { failures: 4 },
  }),
  instead('500, and 400 from the other model', error(500), {
    play: byModel({ openai: error(500), mistral: error(400) }),
    ends: 'BAD_REQUEST',
    text: '',
    requests: 4,
    breaker: { failures: 3 },
  }),
]

const clients: readonly Row[] = [
  elsewhere('500, and the other client answers', {}),
  elsewhere('500, and the other client answers', { call: 'text.stream' }),
  elsewhere('500, and the upstream of the other client closes the connection', {
    other: { play: hangUp, requests: 1 },
    ends: 'NETWORK',
  }),
  elsewhere("500, and the other client's key is rejected", {
    other: { play: error(401), requests: 1 },
    ends: 'AUTH',
  }),
  elsewhere('500, and the deadline passes while the other client waits', {
    other: { play: silent, requests: 1 },
    options: { timeoutMs: 5_000 },
    clock: true,
    ends: 'TIMEOUT',
  }),
  elsewhere("500, and the other client's stream ends after its first content", {
    call: 'text.stream',
    other: { play: stream(begun), requests: 1 },
    ends: 'STREAM',
    text: BEGUN,
  }),
]

export const otherModels: Group = {
  title: 'Another model or client instead',
  rows: [...failures, ...refusals, ...streams, ...bothFail, ...clients],
}
