import { createServer } from 'node:http'
import { handler } from '../recipes/next-pages.mjs'
import { listening, own, setRequestId } from './operator.mjs'

/** Calls a route of the pages router as Next.js does: its body is parsed, and nothing comes after. */
export function start({ blossom, options, isFull }) {
  const answer = handler(blossom, options)
  return listening(
    createServer(async (req, res) => {
      if (!req.url.startsWith('/api/ai/')) return res.end(JSON.stringify(own(req.url)))
      setRequestId(req, res)
      if (isFull && /json/.test(req.headers['content-type'] ?? '')) {
        const parts = await req.toArray()
        req.body = JSON.parse(Buffer.concat(parts).toString())
      }
      await answer(req, res)
    }),
  )
}
