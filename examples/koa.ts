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
    // That a client has left in the middle of a stream is no news.
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') console.error(error)
  })

  // Streams pass it as they come: their headers say `no-transform`.
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
      // Awaited before the head goes out: a failure up to the first word has a status of its own.
      const stream = await blossom.text.stream(promptOf(ctx.request.body), { signal })
      ctx.set(sseHeaders)
      ctx.body = toNodeReadable(toServerSentEvents(stream, { signal }))
    }),
  )

  // The last one: what nobody above has answered is the gateway's, unknown paths too. Beside other
  // routes give it a `prefix` and call it only for paths below. Never `ctx.respond = false`: what
  // outer middleware sets later would be lost.
  app.use(async (ctx) => {
    const request = toRequest(ctx.req, ctx.res, { body: ctx.request.body })
    const { status, headers, body } = await gateway(request, ctx)
    ctx.status = status
    for (const [name, value] of headers)
      name === 'set-cookie' ? ctx.append(name, value) : ctx.set(name, value)
    // koa-compress takes a web Response for JSON, but not a stream.
    if (body !== null) ctx.body = Readable.fromWeb(body as ReadableStream)
  })
  return app
}

const answerErrors: Middleware = async (ctx, next) => {
  try {
    await next()
  } catch (error) {
    const { status, headers, body } = problemOf(error)
    if (status === 500 && !ctx.res.destroyed) ctx.app.emit('error', error, ctx)
    ctx.status = status
    ctx.set(headers)
    ctx.body = JSON.stringify(body)
  }
}

const parse = bodyParser()

/** One route; a router of your choice does the same. */
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
