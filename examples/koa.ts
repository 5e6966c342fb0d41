/** Blossom in a Koa server: all routes of the gateway, and two written by hand. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { bodyParser } from '@koa/bodyparser'
import { type Blossom, sseHeaders, toNodeReadable, toServerSentEvents } from 'blossom-stack'
import { attachWebSocket, type Gateway, toRequest } from 'blossom-stack/http'
import Koa, { type Context, type Middleware } from 'koa'
import compress from 'koa-compress'
import { leaving, problemOf, promptOf } from './hand-written.js'
import { runServer, type Start } from './program.js'

export function createApp(blossom: Blossom<readonly unknown[]>, gateway: Gateway): Koa {
  const app = new Koa()
  app.use(answerErrors)
  app.on('error', (error) => {
    // Ignore clients that disconnect during a stream.
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') console.error(error)
  })

  // Streams are not compressed, because their headers contain `no-transform`.
  app.use(compress())

  app.use(
    post('/hand/text', async (ctx) => {
      const { text } = await blossom.text.generate(promptOf(ctx.request.body), {
        maxTokens: 200,
        signal: leaving(ctx.res),
      })
      ctx.body = { text }
    }),
  )

  app.use(
    post('/hand/stream', async (ctx) => {
      const signal = leaving(ctx.res)
      // Await the first token before sending headers, so that an earlier error has its own status.
      const stream = await blossom.text.stream(promptOf(ctx.request.body), { signal })
      ctx.set(sseHeaders)
      ctx.body = toNodeReadable(toServerSentEvents(stream, { signal }))
    }),
  )

  // Last, so that the gateway answers all remaining paths, including unknown ones. If you have
  // other routes, give the gateway a `prefix` and call it only for paths below that prefix. Do not
  // set `ctx.respond = false`, which would discard what outer middleware sets later.
  app.use(async (ctx) => {
    const request = toRequest(ctx.req, ctx.res, { body: ctx.request.body })
    const { status, headers, body } = await gateway(request, ctx)
    ctx.status = status
    for (const [name, value] of headers)
      name === 'set-cookie' ? ctx.append(name, value) : ctx.set(name, value)
    // Pass a stream, because koa-compress would treat a web Response as JSON.
    if (body !== null) ctx.body = Readable.fromWeb(body as ReadableStream)
  })
  return app
}

const answerErrors: Middleware = async (ctx, next) => {
  try {
    await next()
  } catch (error) {
    const { status, headers, body } = problemOf(error)
    if (status >= 500 && !ctx.res.destroyed) ctx.app.emit('error', error, ctx)
    ctx.status = status
    ctx.set(headers)
    ctx.body = JSON.stringify(body)
  }
}

const parse = bodyParser()

/** Defines one route. You can use a router instead. */
const post = (path: string, handle: (ctx: Context) => Promise<void>): Middleware => {
  return (ctx, next) =>
    ctx.method === 'POST' && ctx.path === path ? parse(ctx, () => handle(ctx)) : next()
}

export const start: Start = async (blossom, gateway, port, host) => {
  const server = createServer(createApp(blossom, gateway).callback())
  attachWebSocket(server, gateway)
  await once(server.listen(port, host), 'listening')
  return server
}

// As a program: node --import tsx examples/koa.ts
if (process.argv[1] === import.meta.filename) await runServer(start)
