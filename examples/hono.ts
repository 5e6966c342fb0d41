/** Blossom in a Hono server: all routes of the gateway, and two written by hand. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import {
  type Blossom,
  StackError,
  sseHeaders,
  toProblem,
  toServerSentEvents,
  toWebStream,
} from 'blossom-stack'
import { attachWebSocket, type Gateway } from 'blossom-stack/http'
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { compress } from 'hono/compress'
import { promptOf } from './hand-written.js'
import { runServer, type Start } from './program.js'

export function createApp(blossom: Blossom<readonly unknown[]>, gateway: Gateway): Hono {
  const app = new Hono()
  // Streams are not compressed, because their headers contain `no-transform`.
  app.use(compress())
  // Hono has no default limit for bodies. The gateway has its own limit.
  app.use('/hand/*', bodyLimit({ maxSize: 1024 * 1024, onError: tooLarge }))

  app.post('/hand/text', async (c) => {
    const prompt = promptOf(await c.req.json().catch(() => undefined))
    // The request's signal aborts the call upstream if the client disconnects.
    const { text } = await blossom.text.generate(prompt, {
      maxTokens: 200,
      signal: c.req.raw.signal,
    })
    return c.json({ text })
  })

  app.post('/hand/stream', async (c) => {
    const prompt = promptOf(await c.req.json().catch(() => undefined))
    const { signal } = c.req.raw
    // Await the first token before sending headers, so that an earlier error has its own status.
    const stream = await blossom.text.stream(prompt, { signal })
    return new Response(toWebStream(toServerSentEvents(stream, { signal })), {
      headers: sseHeaders,
    })
  })

  // Last, so that the gateway answers all remaining paths. If you have other routes, use
  // app.all('/ai/*', …) and `prefix: '/ai'`.
  app.all('*', (c) => gateway(c.req.raw, c))

  app.onError((error, c) => {
    const { status, headers, body } = toProblem(error)
    if (status >= 500 && !c.req.raw.signal.aborted) console.error(error)
    return Response.json(body, { status, headers })
  })
  return app
}

function tooLarge(): never {
  throw new StackError('The body is larger than 1 MiB.', { code: 'VALIDATION', status: 413 })
}

export const start: Start = async (blossom, gateway, port, host) => {
  const server = createAdaptorServer({ fetch: createApp(blossom, gateway).fetch }) as Server
  attachWebSocket(server, gateway)
  await once(server.listen(port, host), 'listening')
  return server
}

// As a program: node --import tsx examples/hono.ts
if (process.argv[1] === import.meta.filename) await runServer(start)
