import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { attachWebSocket, createGateway } from '../../../../src/gateway/index.js'
import { createBlossom } from '../../../../src/index.js'
import { catchWarnings } from '../../../support/warnings.js'
import { bench, handshake, urlOf } from './bench.js'

describe('attachWebSocket', () => {
  const gateway = () => createGateway(createBlossom({ apiKey: 'sk_x' }))

  test.each<[string, object, string]>([
    ['an unknown option', { pingsMs: 1 }, 'option "pingsMs" is unknown'],
    ['a path without a slash', { path: 'ws' }, 'option "path" must be a path'],
    [
      'an origin with a path',
      { origins: ['https://app.example/'] },
      'option "origins" must be a list of origins',
    ],
    [
      'no connections',
      { maxConnections: 0 },
      'option "maxConnections" must be an integer of at least 1',
    ],
    ['no generations', { maxGenerations: 0 }, 'option "maxGenerations" must be'],
    ['a payload of text', { maxPayload: '64kb' }, 'option "maxPayload" must be'],
    ['a rate of a number', { rate: 5 }, 'option "rate" must be an object { limit, intervalMs }'],
    [
      'a rate with a wrong name',
      { rate: { limit: 5, perMs: 1 } },
      'attachWebSocket: rate: option "perMs" is unknown',
    ],
    ['a negative duration', { idleMs: -1 }, 'option "idleMs" must be a duration'],
    ['no time to say goodbye', { closeTimeoutMs: 0 }, 'option "closeTimeoutMs" must be a duration'],
  ])('refuses %s', (_name, options, sentence) => {
    const server = createServer()
    expect(() => attachWebSocket(server, gateway(), options)).toThrow(sentence)
    expect(server.listenerCount('upgrade')).toBe(0)
  })

  test('refuses a non-server, a non-gateway, and the same path twice', async () => {
    expect(() => attachWebSocket({} as never, gateway())).toThrow(
      'the first argument must be a server',
    )
    expect(() => attachWebSocket(createServer(), (() => {}) as never)).toThrow(
      'the second argument must be a gateway',
    )
    await using it = await bench()
    expect(() => attachWebSocket(it.server, gateway())).toThrow(
      'a gateway is already attached at "/ws/generate" of this server.',
    )
  })
})

describe('without the package ws', () => {
  afterEach(() => {
    vi.doUnmock('ws')
    vi.resetModules()
    vi.restoreAllMocks()
  })

  test('warns once how to install it, and refuses upgrades with 501', async () => {
    const warnings = catchWarnings()
    vi.resetModules()
    vi.doMock('ws', () => {
      throw new Error('Cannot find package')
    })
    const fresh = await import('../../../../src/gateway/index.js')
    const gateway = createGateway(createBlossom({ apiKey: 'sk_x' }))
    const server = createServer().listen(0, '127.0.0.1')
    const { ready } = fresh.attachWebSocket(server, gateway)
    await expect(ready).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('npm install ws'),
    })
    expect(warnings).toEqual([
      'attachWebSocket: the package ws is needed and cannot be loaded. Install it with `npm install ws`.',
    ])
    await once(server, 'listening')
    const socket = connect(Number(new URL(urlOf(server, '/')).port), '127.0.0.1')
    socket.write(handshake('/ws/generate'))
    const [head] = await once(socket, 'data')
    expect(String(head)).toMatch(/^HTTP\/1\.1 501 Not Implemented\r\n/)
    await new Promise((resolve) => server.close(resolve))
  })
})
