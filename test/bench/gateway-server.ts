/** A gateway in a process of its own: `gateway-server.js KIND ORIGIN`. Sends its port. */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { getRequestListener } from '@hono/node-server'
import { createBlossom } from 'blossom-stack'
import { createGateway, toNode } from 'blossom-stack/http'
import { Hono } from 'hono'
import { Pool } from 'undici'
import { fullStack } from './contenders/ours.js'

/** As many calls as the load may have at once. */
const WIDTH = 64

const [kind = '', origin = ''] = process.argv.slice(2)

const gateway = () => createGateway(createBlossom({ baseURL: origin }).use(...fullStack(WIDTH)))

/** What any gateway in Node must do at least: copy the bytes. */
function pipe(): RequestListener {
  const pool = new Pool(origin, { connections: WIDTH })
  return async (request, response) => {
    try {
      const { 'content-type': type = 'application/json', 'content-length': length } =
        request.headers
      const { statusCode, headers, body } = await pool.request({
        path: request.url ?? '/',
        method: 'POST',
        headers: {
          'content-type': type,
          ...(length !== undefined && { 'content-length': length }),
        },
        body: request,
      })
      response.statusCode = statusCode
      for (const name of ['content-type', 'content-length'])
        if (headers[name] !== undefined) response.setHeader(name, headers[name])
      await pipeline(body, response)
    } catch {
      response.destroy()
    }
  }
}

const kinds: Readonly<Record<string, () => RequestListener>> = {
  pipe,
  node: () => toNode(gateway()),
  hono: () => {
    const gate = gateway()
    return getRequestListener(new Hono().all('/*', (c) => gate(c.req.raw, c)).fetch)
  },
}

const listener = kinds[kind]?.()
if (listener === undefined) throw new Error(`There is no gateway "${kind}".`)
const server = createServer({ noDelay: true, keepAliveTimeout: 60_000 }, listener)
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
process.on('disconnect', () => process.exit(0))
