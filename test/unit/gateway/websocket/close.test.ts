import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test, vi } from 'vitest'
import { attachWebSocket } from '../../../../src/gateway/index.js'
import { type BlossomLayer, defineLayer } from '../../../../src/index.js'
import { gate } from '../../../support/gate.js'
import { catchWarnings } from '../../../support/warnings.js'
import { type Bench, bench, type Caller, handshake, refusal } from './bench.js'

/** Begins a generation that upstream never answers. */
async function busy(it: Bench, type = 'generate', id = 1): Promise<Caller> {
  it.upstream.fault(type === 'stream' ? { stallAfterChunks: 1 } : { hang: true })
  const caller = await it.connect()
  const { active } = it.upstream
  caller.say({ type, prompt: 'long', id })
  if (type === 'stream') await caller.next()
  await it.upstream.waitFor((upstream) => upstream.active > active)
  return caller
}

const stopped = (it: Bench) =>
  it.upstream.waitFor(
    ({ requests }) => requests.length > 0 && requests.every(({ outcome }) => outcome === 'aborted'),
  )

describe('a caller who leaves', () => {
  test.each([
    ['generate', 'says so', (caller: Caller) => caller.socket.close()],
    ['generate', 'just goes', (caller: Caller) => caller.socket.terminate()],
    ['stream', 'says so', (caller: Caller) => caller.socket.close()],
    ['stream', 'just goes', (caller: Caller) => caller.socket.terminate()],
  ])('ends the upstream call of a %s when he %s', async (type, _how, leave) => {
    await using it = await bench()
    const caller = await busy(it, type)
    leave(caller)
    await stopped(it)
    await it.gateway.close()
    expect(it.log).toMatchObject([{ method: 'WS', status: 499 }])
    expect(it.errors).toEqual([])
    expect(it.sockets.connections).toBe(0)
  })
})

describe('pings', () => {
  test('cut off a client that does not answer them, and stop its calls', async () => {
    await using it = await bench({ sockets: { pingMs: 300 } })
    it.upstream.fault({ hang: true })
    const caller = await it.connect({ autoPong: false })
    caller.say({ type: 'generate', prompt: 'long' })
    expect((await caller.closed).code).toBe(1006)
    await stopped(it)
  })
})

/** A layer that keeps calls until the test lets them go. */
function held() {
  const entered = gate()
  const release = gate()
  const layer = defineLayer({
    name: 'held',
    wrap: (next) => async (request, context) => {
      entered.open()
      await release.promise
      return next(request, context)
    },
  }) as unknown as BlossomLayer
  return { layer, entered: entered.promise, open: () => release.open() }
}

describe('gateway.drain()', () => {
  test('refuses new generations on open connections while running ones continue', async () => {
    const { layer, entered, open } = held()
    await using it = await bench({ layers: [layer], upstream: { reply: () => 'late' } })
    const caller = await it.connect()
    caller.say({ type: 'generate', prompt: 'slow', id: 1 })
    await entered
    it.gateway.drain()
    expect(await caller.ask({ type: 'generate', prompt: 'more', id: 2 })).toMatchObject({
      type: 'error',
      code: 'CLOSED',
      id: 2,
    })
    expect(await caller.ask({ type: 'ping' })).toEqual({ type: 'pong' })
    open()
    expect(await caller.next()).toEqual({ type: 'result', text: 'late', id: 1 })
  })
})

describe('gateway.close()', () => {
  test('ends idle connections at once, and the others after their answers, with 1001', async () => {
    const { layer, entered, open } = held()
    await using it = await bench({ layers: [layer], upstream: { reply: () => 'late' } })
    const silent = await it.connect()
    const caller = await it.connect()
    caller.say({ type: 'generate', prompt: 'slow' })
    await entered
    const closing = it.gateway.close()
    expect(await silent.closed).toEqual({ code: 1001, reason: 'The server is shutting down.' })
    expect(await caller.ask({ type: 'ping' })).toEqual({ type: 'pong' })
    open()
    expect(await caller.next()).toEqual({ type: 'result', text: 'late' })
    expect((await caller.closed).code).toBe(1001)
    await closing
    expect(it.sockets.connections).toBe(0)
    await it.gateway.close()
  })

  test('cuts off unfinished generations in time, and says so', async () => {
    await using it = await bench()
    const caller = await busy(it, 'stream')
    await it.gateway.close({ timeoutMs: 10 })
    expect(await caller.next()).toMatchObject({ type: 'error', code: 'CLOSED', id: 1 })
    expect((await caller.closed).code).toBe(1001)
    await stopped(it)
    expect(it.errors).toMatchObject([{ code: 'CLOSED' }])
  })

  test('lets the server close', async () => {
    await using it = await bench()
    await it.connect()
    const closed = once(it.server, 'close')
    it.server.close()
    await it.gateway.close()
    await closed
  })

  test('hangs up on a client that does not confirm the close', async () => {
    await using it = await bench({ sockets: { closeTimeoutMs: 30 } })
    const socket = connect({
      port: Number(new URL(it.url).port),
      host: '127.0.0.1',
      allowHalfOpen: true,
    })
    socket.write(handshake('/ws/generate'))
    expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1\.1 101 /)
    expect(it.sockets.connections).toBe(1)
    await it.gateway.close()
    expect(it.sockets.connections).toBe(0)
    socket.destroy()
  })
})

describe('close() of the handle', () => {
  test('ends all connections at once and leaves nothing on the server', async () => {
    await using it = await bench()
    const silent = await it.connect()
    const caller = await busy(it)
    const closing = it.sockets.close()
    expect(it.sockets.close()).toBe(closing)
    await closing
    expect([(await silent.closed).code, (await caller.closed).code]).toEqual([1001, 1001])
    await stopped(it)
    expect(it.server.listenerCount('upgrade')).toBe(0)
    expect(it.log).toMatchObject([{ status: 503, code: 'CLOSED' }])

    const again = attachWebSocket(it.server, it.gateway)
    expect((await (await it.connect()).ask({ type: 'ping' })).type).toBe('pong')
    await again.close()
  })

  test('refuses a client whose upgrade is still in progress', async () => {
    let answer: (() => void) | undefined
    const call = () => new Promise<undefined>((resolve) => (answer = () => resolve(undefined)))
    await using it = await bench({ gateway: { call } })
    const refused = refusal(it.url)
    await once(it.server, 'upgrade')
    await it.sockets.close()
    answer?.()
    expect((await refused).status).toBe(503)
  })
})

test('a hundred generations on one connection leave no listeners behind', async () => {
  const warnings = catchWarnings()
  await using it = await bench({ sockets: { rate: { limit: 1_000, intervalMs: 1_000 } } })
  const caller = await it.connect()
  for (let id = 0; id < 50; id++) {
    expect((await caller.ask({ type: 'generate', prompt: 'again', id })).type).toBe('result')
    caller.say({ type: 'stream', prompt: 'again', id })
    await caller.until('done')
  }
  expect(warnings).toEqual([])
  vi.restoreAllMocks()
})
