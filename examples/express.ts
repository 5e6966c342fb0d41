/** Blossom in an Express server: all routes of the gateway, and two written by hand. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { type Blossom, sseHeaders, toNodeReadable, toServerSentEvents } from 'blossom-stack'
import { attachWebSocket, type Gateway, toNode } from 'blossom-stack/http'
import compression from 'compression'
import express, { type ErrorRequestHandler, type Express } from 'express'
import { leaving, problemOf, promptOf } from './hand-written.js'
import { runServer, type Start } from './program.js'

export function createApp(blossom: Blossom<readonly unknown[]>, gateway: Gateway): Express {
  const app = express().disable('x-powered-by')
  // Streams are not compressed, because their headers contain `no-transform`.
  app.use(compression())

  app.post('/hand/text', express.json(), async (req, res) => {
    const { text } = await blossom.text.generate(promptOf(req.body), {
      maxTokens: 200,
      signal: leaving(res),
    })
    res.json({ text })
  })

  app.post('/hand/stream', express.json(), async (req, res) => {
    const signal = leaving(res)
    // Await the first token before sending headers, so that an earlier error has its own status.
    const stream = await blossom.text.stream(promptOf(req.body), { signal })
    res.writeHead(200, sseHeaders).flushHeaders()
    await pipeline(toNodeReadable(toServerSentEvents(stream, { signal })), res).catch(() => {})
  })

  // Without `next`, the gateway also answers unknown paths. If you have other routes, use
  // app.use('/ai', toNode(gateway)).
  const serve = toNode(gateway)
  app.use((req, res) => serve(req, res))
  app.use(answerError)
  return app
}

const answerError: ErrorRequestHandler = (error, _req, res, next) => {
  if (res.headersSent) return next(error)
  const { status, headers, body } = problemOf(error)
  if (status >= 500 && !res.destroyed) console.error(error)
  res.writeHead(status, headers).end(JSON.stringify(body))
}

export const start: Start = async (blossom, gateway, port, host) => {
  const server = createServer(createApp(blossom, gateway))
  attachWebSocket(server, gateway)
  await once(server.listen(port, host), 'listening')
  return server
}

// As a program: node --import tsx examples/express.ts
if (process.argv[1] === import.meta.filename) await runServer(start)
