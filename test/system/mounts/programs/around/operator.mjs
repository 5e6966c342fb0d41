import { once } from 'node:events'

/** Listens on a free port of the loopback. */
export async function listening(server) {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return server
}

/** The operator's middleware for request ids, which sets them where such middleware does. */
export function setRequestId(req, res) {
  const { 'x-set-header': header, 'x-set-req-id': id } = req.headers
  if (header !== undefined) res.setHeader('x-request-id', header)
  if (id !== undefined) req.id = id
}

/** What the framework itself answers where the gateway is not asked. */
export const own = (path) => ({ framework: path })
