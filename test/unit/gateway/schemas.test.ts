import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  BatchRequest,
  ChatRequest,
  EmbeddingsRequest,
  GenerateRequest,
  ImagesRequest,
  MessageId,
  readBody,
  SocketMessage,
  SpeechRequest,
  wrongFields,
} from '../../../src/gateway/schemas.js'
import { isStackError } from '../../../src/index.js'

const refusalOf = (run: () => unknown): unknown => {
  try {
    return run()
  } catch (error) {
    return isStackError(error, 'VALIDATION') ? { ...error, message: error.message } : error
  }
}

describe('readBody', () => {
  it('fills in the defaults, for null as well', () => {
    const defaults = { prompt: 'Hello', max_tokens: 100, temperature: 0.7 }
    expect(readBody(GenerateRequest, { prompt: 'Hello' })).toEqual(defaults)
    expect(
      readBody(GenerateRequest, { prompt: 'Hello', max_tokens: null, temperature: null }),
    ).toEqual(defaults)
    expect(readBody(BatchRequest, { prompts: ['Hello'] })).toEqual({
      prompts: ['Hello'],
      batch_size: 5,
    })
  })

  it('leaves out unknown fields', () => {
    expect(readBody(GenerateRequest, { prompt: 'Hello', apiKey: 'x' })).not.toHaveProperty('apiKey')
  })

  it('answers 400 and names each wrong field once, in schema order', () => {
    const body = { model: '', temperature: 3, max_tokens: '5', prompt: ' ' }
    expect(refusalOf(() => readBody(GenerateRequest, body))).toMatchObject({
      code: 'VALIDATION',
      status: 400,
      refused: true,
      errors: [
        { field: 'prompt', message: 'must be a non-empty string' },
        { field: 'max_tokens', message: 'must be an integer from 1 to 32768' },
        { field: 'temperature', message: 'must be a number from 0 to 2' },
        { field: 'model', message: 'must be a non-empty string' },
      ],
    })
  })

  it.each([undefined, null])('reports a required field that is %s as missing', (prompt) => {
    expect(wrongFields(GenerateRequest, { prompt })).toEqual([
      { field: 'prompt', message: 'is missing' },
    ])
  })

  it('ignores inherited fields', () => {
    expect(wrongFields(ImagesRequest, Object.create({ prompt: 'Roses' }))).toEqual([
      { field: 'prompt', message: 'is missing' },
    ])
    expect(wrongFields(ImagesRequest, JSON.parse('{"__proto__":{"prompt":"Roses"}}'))).toEqual([
      { field: 'prompt', message: 'is missing' },
    ])
  })

  it('names a list once, however many of its items are wrong', () => {
    const messages = Array.from({ length: 100_000 }, () => 'Hello')
    expect(wrongFields(ChatRequest, { messages })).toEqual([
      { field: 'messages', message: 'must be a non-empty list of objects' },
    ])
  })

  it.each([
    [ChatRequest, { messages: [{}], stream: 'true' }, 'stream'],
    [ImagesRequest, { prompt: 'Roses', stream: 'true' }, 'stream'],
    [ImagesRequest, { prompt: 'Roses', stream: 1 }, 'stream'],
    [EmbeddingsRequest, { input: 'a', stream: true }, 'stream'],
    [SpeechRequest, { input: 'a', stream: 'true' }, 'stream'],
    [SpeechRequest, { input: 'a', stream: true }, 'stream'],
    [SpeechRequest, { input: 'a', stream_format: 'sse' }, 'stream_format'],
    [BatchRequest, { prompts: [5] }, 'prompts'],
    [BatchRequest, { prompts: ['a', null] }, 'prompts'],
  ])('refuses what could not be served after it was paid for: %#', (schema, body, field) => {
    expect(wrongFields(schema, body).map((wrong) => wrong.field)).toEqual([field])
  })

  it.each([
    [ChatRequest, { messages: [{}], stream: null }],
    [ImagesRequest, { prompt: 'Roses', stream: true }],
    [EmbeddingsRequest, { input: [[1, 2], [3]], stream: false }],
    [SpeechRequest, { input: 'a', stream: null, stream_format: 'audio' }],
    [SpeechRequest, { input: 'a', stream_format: null }],
  ])('accepts what can be served: %#', (schema, body) => {
    expect(wrongFields(schema, body)).toEqual([])
  })

  it('does not change the body', () => {
    const body = Object.freeze({ messages: Object.freeze([Object.freeze({ role: 'user' })]) })
    expect(wrongFields(ChatRequest, body)).toEqual([])
  })
})

describe('SocketMessage', () => {
  it('has the fields and defaults of the HTTP routes', () => {
    const { type: _, ...message } = readBody(SocketMessage, { type: 'stream', prompt: 'Hello' })
    expect(message).toEqual(readBody(GenerateRequest, { prompt: 'Hello' }))
  })

  it.each([
    [{ type: 'ping' }, { type: 'ping' }],
    [
      { type: 'cancel', id: 0 },
      { type: 'cancel', id: 0 },
    ],
  ])('reads %o', (message, expected) => {
    expect(readBody(SocketMessage, message)).toEqual(expected)
  })

  it('treats an id of null as absent, except for a cancel', () => {
    expect(readBody(SocketMessage, { type: 'generate', prompt: 'Hello', id: null })).toHaveProperty(
      'id',
      undefined,
    )
    expect(wrongFields(SocketMessage, { type: 'cancel', id: null })).toEqual([
      { field: 'id', message: 'is missing' },
    ])
  })

  it.each([[{}], [''], ['x'.repeat(65)], [Number.POSITIVE_INFINITY], [true]])(
    'refuses %o as an id',
    (id) => {
      expect(wrongFields(SocketMessage, { type: 'cancel', id })).toEqual([
        { field: 'id', message: MessageId.message },
      ])
    },
  )

  it('refuses an unknown type', () => {
    expect(wrongFields(SocketMessage, { type: 'toString' })).toEqual([
      { field: 'type', message: 'must be "generate", "stream", "cancel" or "ping"' },
    ])
  })
})

describe('the OpenAPI document', () => {
  it('is loaded by the first request for it', () => {
    const script = `
      const { createGateway } = require('./dist/http.cjs')
      const { createBlossom } = require('./dist/index.cjs')
      const loaded = () => Object.keys(require.cache).some((file) => file.includes('to-json-schema'))
      const gateway = createGateway(createBlossom())
      const before = loaded()
      gateway(new Request('http://localhost/openapi.json'))
        .then(({ status }) => console.log(JSON.stringify([before, status, loaded()])))`
    const { stdout, stderr } = spawnSync(process.execPath, ['-e', script], {
      cwd: join(import.meta.dirname, '../../..'),
      encoding: 'utf8',
    })
    expect([stdout.trim(), stderr]).toEqual(['[false,200,true]', ''])
  })
})
