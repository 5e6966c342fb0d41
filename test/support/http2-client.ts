import { once } from 'node:events'
import { type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2'
import { type Answer, type Ask, answerOf } from './http-client.js'

/** Speaks HTTP/2 to one server: by TLS with a certificate's authority, else in clear text. */
export function http2Client(url: string, ca?: string) {
  const session = connect(url, { ca })
  session.on('error', () => {})
  const send = (path: string, { method, headers = {}, body }: Ask = {}): ClientHttp2Stream => {
    const payload = typeof body === 'object' ? JSON.stringify(body) : body
    const stream = session.request({
      ':path': path,
      ':method': method ?? (body === undefined ? 'GET' : 'POST'),
      ...(payload !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    })
    stream.on('error', () => {})
    stream.end(payload)
    return stream
  }
  const headOf = async (stream: ClientHttp2Stream) => {
    const broken = once(stream, 'close').then(() => {
      throw new Error('The connection broke before an answer came.')
    })
    const [head] = (await Promise.race([once(stream, 'response'), broken])) as [IncomingHttpHeaders]
    broken.catch(() => {})
    const { ':status': status = 0, ...headers } = head
    return { status: Number(status), headers }
  }
  return {
    async ask(path: string, what?: Ask): Promise<Answer> {
      const stream = send(path, what)
      const { status, headers } = await headOf(stream)
      const parts: Buffer[] = await stream.toArray()
      return answerOf(status, headers, Buffer.concat(parts))
    },
    /** Leaves at once, or when the answer has begun. */
    async leave(path: string, what: Ask, when: 'begun' | Promise<unknown>): Promise<void> {
      const stream = send(path, what)
      await (when === 'begun' ? once(stream, 'data') : when)
      stream.close(8)
    },
    close: () => session.destroy(),
  }
}
