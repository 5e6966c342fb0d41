import { EventEmitter } from 'node:events'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { WebSocket } from 'ws'
import { CORE, type GatewayCore } from '../../../../src/gateway/gateway.js'
import { createGateway } from '../../../../src/gateway/index.js'
import {
  readWebSocketOptions,
  type WebSocketOptions,
} from '../../../../src/gateway/websocket/options.js'
import { Session } from '../../../../src/gateway/websocket/session.js'
import { type BlossomLayer, createBlossom, defineLayer } from '../../../../src/index.js'
import { turn } from '../../../support/watch.js'
import type { Message } from './bench.js'

/** A WebSocket of `ws` as a session sees it, in the hands of a test. */
class FakeSocket extends EventEmitter {
  readyState = 1
  bufferedAmount = 0
  readonly sent: Message[] = []
  readonly flushes: (() => void)[] = []
  isStuck = false
  readonly ping = vi.fn()
  readonly terminate = vi.fn(() => this.gone())
  readonly close = vi.fn(() => {
    this.readyState = 2
  })

  send(text: string, done: () => void): void {
    expect(this.readyState).toBe(1)
    this.sent.push(JSON.parse(text) as Message)
    this.bufferedAmount += text.length
    this.flushes.push(done)
    if (!this.isStuck) setImmediate(() => this.flush())
  }

  flush(): void {
    this.bufferedAmount = 0
    for (const done of this.flushes.splice(0)) done()
  }

  hear(message: object): void {
    this.emit('message', Buffer.from(JSON.stringify(message)), false)
  }

  gone(): void {
    this.readyState = 3
    this.emit('close', 1006, Buffer.alloc(0))
  }
}

describe('Session', () => {
  let pulled = 0
  let isReturned = false

  /** Stands in for upstream: chunks of 1,000 characters without end. */
  const endless = defineLayer({
    name: 'endless',
    wrap: () => async () =>
      (async function* () {
        try {
          for (;;) {
            pulled++
            yield {
              choices: [{ index: 0, delta: { content: 'x'.repeat(1_000) }, finish_reason: null }],
            }
          }
        } finally {
          isReturned = true
        }
      })(),
  }) as unknown as BlossomLayer

  function open(options: WebSocketOptions = {}) {
    const gateway = createGateway(createBlossom({ apiKey: 'sk_x', layers: [endless] }) as never)
    const core = (gateway as unknown as { [CORE]: GatewayCore })[CORE]
    const socket = new FakeSocket()
    const onClosed = vi.fn()
    const session = new Session(
      socket as unknown as WebSocket,
      { core, caller: {}, apiKey: undefined },
      readWebSocketOptions(options),
      onClosed,
    )
    return { core, socket, session, onClosed }
  }

  beforeEach(() => {
    pulled = 0
    isReturned = false
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('reads an answer no faster than its caller', async () => {
    const { socket } = open()
    socket.isStuck = true
    socket.hear({ type: 'stream', prompt: 'long', id: 1 })
    for (let before = -1; before !== pulled; await turn()) before = pulled
    // 64 KiB of chunks with 1,000 characters each, and the few that the layers hold.
    expect(socket.sent.length).toBeGreaterThan(60)
    expect(pulled).toBeLessThan(70)
    const { length } = socket.sent
    socket.flush()
    for (let before = -1; before !== pulled; await turn()) before = pulled
    expect(socket.sent.length).toBeGreaterThan(length + 60)
    socket.gone()
    for (let i = 0; i < 20 && !isReturned; i++) await turn()
    expect(isReturned).toBe(true)
  })

  test('holds its position in an answer that nobody reads', async () => {
    const { socket, core } = open({ maxGenerations: 1 })
    socket.isStuck = true
    socket.hear({ type: 'stream', prompt: 'long', id: 1 })
    for (let before = -1; before !== pulled; await turn()) before = pulled
    socket.hear({ type: 'cancel', id: 1 })
    for (let i = 0; i < 20; i++) await turn()
    expect(socket.sent.at(-1)).toEqual({ type: 'cancelled', id: 1 })
    socket.hear({ type: 'generate', prompt: 'more', id: 2 })
    expect(socket.sent.at(-1)).toMatchObject({ code: 'QUEUE_FULL', id: 2 })
    socket.gone()
    socket.flush()
    await core.close()
  })

  test('never sends after the close has begun', async () => {
    const { socket, session, onClosed } = open()
    socket.hear({ type: 'stream', prompt: 'long', id: 1 })
    await turn()
    expect(socket.sent.length).toBeGreaterThan(0)
    void session.end()
    const { length } = socket.sent
    socket.hear({ type: 'ping' })
    for (let i = 0; i < 20; i++) await turn()
    expect(isReturned).toBe(true)
    expect(socket.sent).toHaveLength(length)
    expect(onClosed).not.toHaveBeenCalled()
    socket.gone()
    expect(onClosed).toHaveBeenCalledOnce()
  })

  test('pings, and cuts off only clients that do not answer', async () => {
    vi.useFakeTimers()
    const { socket } = open({ idleMs: 0 })
    for (let pings = 1; pings <= 3; pings++) {
      await vi.advanceTimersByTimeAsync(30_000)
      expect(socket.ping).toHaveBeenCalledTimes(pings)
      socket.emit('pong', Buffer.alloc(0))
    }
    await vi.advanceTimersByTimeAsync(30_000)
    expect(socket.terminate).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(30_000)
    expect(socket.terminate).toHaveBeenCalledOnce()
  })

  test('ends after a long idle time, but not while something is running', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const { socket } = open({ pingMs: 0 })
    await vi.advanceTimersByTimeAsync(299_999)
    socket.hear({ type: 'ping' })
    await vi.advanceTimersByTimeAsync(299_999)
    socket.hear({ type: 'stream', prompt: 'long', id: 1 })
    socket.isStuck = true
    await vi.advanceTimersByTimeAsync(900_000)
    expect(socket.close).not.toHaveBeenCalled()
    socket.hear({ type: 'cancel', id: 1 })
    for (let i = 0; i < 20; i++) await turn()
    socket.flush()
    await turn()
    await vi.advanceTimersByTimeAsync(299_999)
    expect(socket.close).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    expect(socket.close).toHaveBeenCalledExactlyOnceWith(
      1000,
      'The connection was idle for too long.',
    )
    socket.gone()
  })

  test('accepts messages again after the interval of its rate limit', () => {
    vi.useFakeTimers()
    const { socket } = open({ rate: { limit: 2, intervalMs: 1_000 } })
    for (let i = 0; i < 3; i++) socket.hear({ type: 'ping' })
    vi.advanceTimersByTime(1_000)
    socket.hear({ type: 'ping' })
    expect(socket.sent.map(({ type }) => type)).toEqual(['pong', 'pong', 'error', 'pong'])
    socket.gone()
  })

  test.each(['end', 'gone', 'error'] as const)('leaves no timers after %s', async (how) => {
    vi.useFakeTimers()
    const { socket, session } = open()
    await vi.advanceTimersByTimeAsync(0)
    expect(vi.getTimerCount()).toBe(1)
    if (how === 'end') void session.end()
    if (how === 'gone') socket.gone()
    if (how === 'error') {
      socket.readyState = 2
      socket.emit('error', new Error('frame'))
    }
    await vi.advanceTimersByTimeAsync(2_000)
    expect(vi.getTimerCount()).toBe(0)
    expect(socket.terminate).toHaveBeenCalledTimes(how === 'gone' ? 0 : 1)
  })
})
