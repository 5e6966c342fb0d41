import { once } from 'node:events'
import {
  createServer,
  get,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { getRequestListener } from '@hono/node-server'
import { afterEach, describe, expect, test } from 'vitest'
import { streamFrom } from '../../../src/core/index.js'
import {
  sseHeaders,
  toNodeReadable,
  toServerSentEvents,
  toWebStream,
} from '../../../src/streams/index.js'
import { turn } from '../../support/watch.js'
import { all, broken, Source, whole } from './sources.js'

type Listener = (
  source: AsyncIterable<unknown>,
  ended: (error?: unknown) => void,
) => RequestListener

const servers: [string, Listener][] = [
  [
    'toNodeReadable and node:http',
    (source, ended) => (_request, response) => {
      response.writeHead(200, sseHeaders)
      pipeline(toNodeReadable(toServerSentEvents(source)), response).then(() => ended(), ended)
    },
  ],
  [
    'toWebStream and a web server',
    (source) =>
      getRequestListener(
        () => new Response(toWebStream(toServerSentEvents(source)), { headers: sseHeaders }),
      ),
  ],
]

describe.each(servers)('%s over HTTP', (_name, listener) => {
  let server: Server | undefined
  let socket: Socket | undefined

  afterEach(async () => {
    server?.closeAllConnections()
    if (server !== undefined) await new Promise((resolve) => server?.close(resolve))
    server = undefined
  })

  async function visit(
    source: AsyncIterable<unknown>,
    ended: (error?: unknown) => void = () => {},
  ): Promise<IncomingMessage> {
    server = createServer(listener(source, ended)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    server.on('connection', (connection) => {
      socket = connection
    })
    const request = get({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      agent: false,
    })
    request.on('error', () => {})
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    return response
  }

  test('delivers the whole stream with its headers', async () => {
    const response = await visit(whole([{ text: 'Grüße\n' }, { text: '🌸' }]))
    expect(response.headers).toMatchObject(sseHeaders)
    expect(Buffer.concat(await all(response)).toString()).toBe(
      'data: {"text":"Grüße\\n"}\n\ndata: {"text":"🌸"}\n\ndata: [DONE]\n\n',
    )
  })

  test('delivers an error event and a clean end', async () => {
    const response = await visit(broken([{ text: 'a' }], new Error('secret')))
    const text = Buffer.concat(await all(response)).toString()
    expect(text).toMatch(/^data: \{"text":"a"\}\n\nevent: error\ndata: \[ERROR\] \{.*\}\n\n$/)
    expect(response.complete).toBe(true)
  })

  test('a caller who leaves while a chunk is awaited returns the source', async () => {
    const source = new Source([{ text: 'a' }])
    const response = await visit(source)
    await once(response, 'data')
    response.destroy()
    await source.left
    expect(source.returned).toBe(1)
  })

  test('a caller who leaves ends a Stream and stops its source', async () => {
    const source = new Source([{ text: 'a' }])
    const stream = streamFrom(source)
    const ended = new Promise((resolve) => stream.onEnd(resolve))
    const response = await visit(stream)
    await once(response, 'data')
    response.destroy()
    expect(await ended).toEqual({ outcome: 'left' })
    await source.left
  })

  test('a caller who does not read stops the source, and returns it on leaving', async () => {
    let made = 0
    let told = () => {}
    const left = new Promise<void>((resolve) => {
      told = resolve
    })
    async function* flood() {
      try {
        while (made < 2000) {
          made++
          yield { text: 'x'.repeat(64 * 1024) }
        }
      } finally {
        told()
      }
    }
    const response = await visit(flood())
    // The sockets' buffers are full when Node wants a drain and nothing has moved for many turns.
    for (let still = 0; still < 200; ) {
      const before = made
      await turn()
      still = made === before && socket?.writableNeedDrain ? still + 1 : 0
      if (made === 2000) break
    }
    expect(made).toBeLessThan(1000)
    response.destroy()
    await left
  })
})
