import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { routes } from '../recipes/next-app.mjs'
import { listening, own } from './operator.mjs'

/** Calls a route of the app router as Next.js does: a web Request whose signal ends with the answer. */
export function start({ blossom, options }) {
  const handlers = routes(blossom, {
    ...options,
    requestId: (request) =>
      request.headers.get('x-set-header') ?? request.headers.get('x-set-req-id') ?? undefined,
  })
  return listening(
    createServer(async (req, res) => {
      if (!req.url.startsWith('/ai/')) return res.end(JSON.stringify(own(req.url)))
      const leaving = new AbortController()
      res.once('close', () => res.writableFinished || leaving.abort())
      const hasBody = req.method !== 'GET' && req.method !== 'HEAD'
      const request = new Request(`http://${req.headers.host}${req.url}`, {
        method: req.method,
        headers: req.headers,
        signal: leaving.signal,
        ...(hasBody && { body: Readable.toWeb(req), duplex: 'half' }),
      })
      const response = await handlers[req.method](request, { params: Promise.resolve({}) })
      res.writeHead(response.status, Object.fromEntries(response.headers))
      if (response.body === null) return res.end()
      res.flushHeaders()
      await pipeline(Readable.fromWeb(response.body), res).catch(() => {})
    }),
  )
}
