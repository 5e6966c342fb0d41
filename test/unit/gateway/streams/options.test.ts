import { describe, expect, it } from 'vitest'
import { createGateway, type GatewayOptions } from '../../../../src/gateway/index.js'
import { MemoryLogs } from '../../../../src/gateway/streams/memory-logs.js'
import { createBlossom } from '../../../../src/index.js'
import { onlyShared } from '../../../support/only-shared.js'

const blossom = createBlossom({ baseURL: 'http://127.0.0.1:9' })
const make = (options: unknown) => createGateway(blossom, options as GatewayOptions)
const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}
const shared = onlyShared({
  logs: () => new MemoryLogs(),
})

describe('the option streams', () => {
  it.each([
    undefined,
    true,
    false,
    {},
    { shared },
    { graceMs: 0, keepMs: 1 },
    { shared: undefined, graceMs: undefined, keepMs: undefined },
  ])('accepts %o', (streams) => {
    expect(() => make({ streams })).not.toThrow()
  })

  it.each([null, 'true', 1, Symbol('s'), () => {}, 5n])('refuses %o', (streams) => {
    expect(() => make({ streams })).toThrow(
      /^createGateway: option "streams" must be true, false or an object \{ shared, graceMs, keepMs \}, got .+\.$/,
    )
  })

  it('refuses an option whose value cannot be read', () => {
    for (const streams of [revoked(), []])
      expect(() => make({ streams })).toThrow(
        /^createGateway: streams: options must be an? (plain )?object/,
      )
  })

  it.each([
    ['shared', {}],
    ['shared', 'redis://127.0.0.1'],
    ['shared', new Map()],
    ['shared', revoked()],
    ['graceMs', -1],
    ['graceMs', Number.NaN],
    ['graceMs', '30s'],
    ['graceMs', Number.POSITIVE_INFINITY],
    ['keepMs', 0],
    ['keepMs', 2 * 24 * 3_600_000],
    ['keepMs', null],
  ])('refuses an invalid %s', (name, value) => {
    expect(() => make({ streams: { [name]: value } })).toThrow(
      new RegExp(`^createGateway: streams: option "${name}" must be .+\\.$`),
    )
  })

  it('refuses an unknown option', () => {
    expect(() => make({ streams: { ttlMs: 1 } })).toThrow(
      'createGateway: streams: option "ttlMs" is unknown; expected one of shared, graceMs, keepMs.',
    )
  })

  it('is required for the stream routes', () => {
    for (const name of ['v1-streams', 'v1-streams-stop'])
      expect(() => make({ routes: [name] })).toThrow(
        `createGateway: the route "${name}" needs the option "streams".`,
      )
    expect(() => make({ routes: ['v1-streams', 'v1-streams-stop'], streams: true })).not.toThrow()
  })

  it('makes no stream resumable when the route to resume it is left out', async () => {
    const ask = async (routes: GatewayOptions['routes']) => {
      const gateway = make({ routes, streams: true })
      return (await gateway(new Request('http://localhost/v1/streams/x'))).json()
    }
    expect(await ask(['v1-chat', 'v1-streams'])).toMatchObject({
      error: { message: 'There is no such stream.' },
    })
    expect(await ask(['v1-chat'])).toMatchObject({
      error: { message: 'There is no such route. Use one of: POST /v1/chat/completions.' },
    })
  })
})
