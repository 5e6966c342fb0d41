/**
 * A gateway in a process of its own: `gateway-server.js KIND ORIGIN`. Sends its port, and its CPU
 * time whenever it gets a message.
 */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { getRequestListener } from '@hono/node-server'
import { createBlossom } from 'blossom-stack'
import { createGateway, toNode } from 'blossom-stack/http'
import { type Context, Hono } from 'hono'
import { type Dispatcher, Pool } from 'undici'
import { standardStack } from './contenders/ours.js'

/** More calls than any load has at once. */
const WIDTH = 128

const [kind = '', origin = ''] = process.argv.slice(2)

const gateway = () => createGateway(createBlossom({ baseURL: origin }).use(...standardStack(WIDTH)))

/** The least that a gateway in Node must do: copy the bytes. */
function pipe(): RequestListener {
  const pool = new Pool(origin, { connections: WIDTH })
  return async (request, response) => {
    try {
      const { 'content-type': type = 'application/json', 'content-length': length } =
        request.headers
      const headers = { 'content-type': type, ...(length && { 'content-length': length }) }
      const path = request.url ?? '/'
      const answer = await pool.request({ path, method: 'POST', headers, body: request })
      response.writeHead(answer.statusCode, bodyHeaders(answer))
      await pipeline(answer.body, response)
    } catch {
      response.destroy()
    }
  }
}

/** The same as a `Response`. */
function webPipe(): (request: Request) => Promise<Response> {
  const pool = new Pool(origin, { connections: WIDTH })
  return async (request) => {
    const path = new URL(request.url).pathname
    const headers = { 'content-type': request.headers.get('content-type') ?? 'application/json' }
    const body = await request.text()
    const answer = await pool.request({ path, method: 'POST', headers, body })
    return new Response(Readable.toWeb(answer.body) as ReadableStream, {
      status: answer.statusCode,
      headers: bodyHeaders(answer),
    })
  }
}

const bodyHeaders = ({ headers }: Dispatcher.ResponseData): Record<string, string> =>
  Object.fromEntries(
    ['content-type', 'content-length'].flatMap((name) =>
      typeof headers[name] === 'string' ? [[name, headers[name]]] : [],
    ),
  )

/** As the README mounts it. */
const underHono = (answer: (request: Request, c: Context) => Promise<Response>): RequestListener =>
  getRequestListener(new Hono().all('/*', (c) => answer(c.req.raw, c)).fetch)

const kinds: Readonly<Record<string, () => RequestListener>> = {
  pipe,
  node: () => toNode(gateway()),
  'hono-pipe': () => underHono(webPipe()),
  hono: () => underHono(gateway()),
}

const listener = kinds[kind]?.()
if (listener === undefined) throw new Error(`There is no gateway "${kind}".`)
const server = createServer({ noDelay: true, keepAliveTimeout: 60_000 }, listener)
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.(user + system)
})
process.on('disconnect', () => process.exit(0))
