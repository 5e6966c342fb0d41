/**
 * The upstream, in a process of its own: its work must not be counted as the client's. It answers
 * over bare sockets with bytes made beforehand, since node:http's server would take as long for a
 * call as the client, and then all contenders would look alike.
 */
import { type AddressInfo, createServer, type Socket } from 'node:net'
import {
  ANSWER,
  answerOf,
  PIECE,
  PIECES,
  type Seen,
  type UpstreamOptions,
} from './upstream-answers.js'
import { Pacer } from './upstream-pacer.js'

const options = JSON.parse(process.argv[2] ?? '{}') as UpstreamOptions

const wholeAnswer = (content: string): Buffer => {
  const json = JSON.stringify({
    id: 'x',
    object: 'chat.completion',
    created: 1,
    model: 'openai',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 9, total_tokens: 10 },
  })
  return Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
  )
}
const whole = wholeAnswer(ANSWER)

const event = (delta: object, finish_reason: string | null = null) =>
  `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', created: 1, model: 'openai', choices: [{ index: 0, delta, finish_reason }] })}\n\n`
const frame = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const head = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n${frame(event({ role: 'assistant', content: '' }))}`,
)
const piece = event({ content: PIECE })
const one = Buffer.from(frame(piece))
const ten = Buffer.from(frame(piece.repeat(10)))
const last = Buffer.from(`${frame(`${event({}, 'stop')}data: [DONE]\n\n`)}0\r\n\r\n`)

let requests = 0
let closed = 0
let closedAt = 0
let sentByClosed = 0
const sockets = new Set<Socket>()

const pacer = new Pacer(options.paceMs ?? 20)

function stream(socket: Socket, request: string): void {
  socket.write(head)
  if (options.streams === 'held') return void socket.write(one)
  if (options.streams === 'endless') return sendEndlessly(socket)
  if (request.includes('paced')) return sendPaced(socket)
  for (let i = 0; i < PIECES; i += 10) socket.write(ten)
  socket.write(last)
}

function sendEndlessly(socket: Socket): void {
  // One at a time: a loop would go on while the socket takes it, and see nobody leave.
  const more = () => {
    if (!socket.destroyed && socket.write(ten)) setImmediate(more)
  }
  socket.on('drain', more)
  more()
}

function sendPaced(socket: Socket): void {
  let sent = 0
  pacer.add(() => {
    socket.write(sent++ < PIECES ? one : last)
    return sent <= PIECES && !socket.destroyed
  })
}

const waiting = new Set<Socket>()
const running = new Map<Socket, NodeJS.Timeout>()
let seed = 1
/** Evenly spread from 0 to 1, the same in every run. */
const random = () => {
  seed = (seed * 16_807) % 2_147_483_647
  return seed / 2_147_483_647
}

/** A server with a few slots: a client that leaves frees its slot, or its place in the line. */
function serveInTurn({ slots, serviceMs }: NonNullable<UpstreamOptions['capacity']>): void {
  for (const socket of waiting) {
    if (running.size >= slots) return
    waiting.delete(socket)
    const done = () => {
      running.delete(socket)
      socket.write(whole)
      serveInTurn({ slots, serviceMs })
    }
    running.set(socket, setTimeout(done, serviceMs * (0.5 + random())))
  }
}

/** A number that the prompt names, as in `latency=50`; 0 when it names none. */
const numberIn = (request: string, name: 'latency' | 'characters'): number => {
  const at = request.indexOf(`${name}=`)
  return at < 0 ? 0 : Number.parseInt(request.slice(at + name.length + 1), 10)
}

function answer(socket: Socket, request: string): void {
  requests++
  const streams = request.includes('"stream":true')
  if (!streams && options.capacity !== undefined) {
    waiting.add(socket)
    return serveInTurn(options.capacity)
  }
  const send = () => {
    if (streams) return stream(socket, request)
    const characters = numberIn(request, 'characters')
    socket.write(characters > 0 ? wholeAnswer(answerOf(characters)) : whole)
  }
  const latency = numberIn(request, 'latency')
  if (latency > 0) setTimeout(send, latency)
  else send()
}

/** Where the request at the beginning of `text` ends; 0 while it has not. */
function endOf(text: string): number {
  const body = text.indexOf('\r\n\r\n') + 4
  if (body === 3) return 0
  const length = /\r\ncontent-length: *(\d+)/i.exec(text)
  if (length !== null && length.index < body) {
    const end = body + Number(length[1])
    return text.length >= end ? end : 0
  }
  const chunked = /\r\ntransfer-encoding: *chunked/i.exec(text)
  if (chunked === null || chunked.index > body) return body
  const zero = text.indexOf('0\r\n\r\n', body)
  return zero < 0 ? 0 : zero + 5
}

const server = createServer({ noDelay: true }, (socket) => {
  sockets.add(socket)
  let text = ''
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1')
    for (let end = endOf(text); end > 0; end = endOf(text)) {
      const request = text.slice(0, end)
      text = text.slice(end)
      answer(socket, request)
    }
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    sockets.delete(socket)
    waiting.delete(socket)
    sentByClosed += socket.bytesWritten
    closed++
    closedAt = performance.timeOrigin + performance.now()
    clearTimeout(running.get(socket))
    if (running.delete(socket) && options.capacity !== undefined) serveInTurn(options.capacity)
  })
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () =>
  process.send?.((server.address() as AddressInfo).port),
)
process.on('message', () => {
  const sent = [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, sentByClosed)
  process.send?.({ requests, closed, sent, closedAt } satisfies Seen)
})
process.on('disconnect', () => process.exit(0))
