import { once } from 'node:events'
import {
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
} from 'node:http'
import { request as requestSecurely } from 'node:https'
import { connect } from 'node:net'
import { createParser } from 'eventsource-parser'

export interface Ask {
  method?: string
  headers?: Record<string, string | string[]>
  /** An object goes as JSON; text and bytes go as they are. */
  body?: object | string
  /** The authority of an https server's certificate. */
  ca?: string
}

/** An answer that has arrived whole. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** The text as JSON; undefined when it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  readonly json: any
  readonly events: readonly SentEvent[]
}

/** An event as a reader sees it: `message` when it has no name. */
export interface SentEvent {
  readonly event: string
  readonly data: string
}

/** A visit whose answer is read by the test. */
export interface Visit {
  readonly response: IncomingMessage
  /**
   * Resolves with the next piece of the body; undefined at its end. Rejects when the connection
   * broke.
   */
  next(): Promise<string | undefined>
  /** Reads to the end. */
  rest(): Promise<string>
  /** Goes away in the middle of it. */
  leave(): void
}

/**
 * Sends a request with its path as it is: no tidying up as in `fetch`. Each has a connection of its
 * own.
 */
export function begin(
  url: string,
  path: string,
  { method, headers = {}, body, ca }: Ask = {},
): ClientRequest {
  const { hostname, port, protocol } = new URL(url)
  const payload = typeof body === 'object' ? JSON.stringify(body) : body
  const send = protocol === 'https:' ? requestSecurely : request
  const sent = send({
    hostname,
    port,
    path,
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    agent: false,
    ca,
    headers: {
      ...(payload !== undefined && { 'content-type': 'application/json' }),
      ...(payload !== undefined &&
        !('transfer-encoding' in headers) && {
          'content-length': String(Buffer.byteLength(payload)),
        }),
      ...headers,
    },
  })
  sent.end(payload)
  return sent
}

async function answered(sent: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  // What breaks later is told by the body.
  sent.on('error', () => {})
  return response
}

export async function ask(url: string, path: string, what?: Ask): Promise<Answer> {
  return whole(await answered(begin(url, path, what)))
}

/** Reads an answer to its end; rejects when the connection breaks before it. */
async function whole(response: IncomingMessage): Promise<Answer> {
  const parts: Buffer[] = []
  for await (const part of response as AsyncIterable<Buffer>) parts.push(part)
  return answerOf(response.statusCode ?? 0, response.headers, Buffer.concat(parts))
}

export function answerOf(status: number, headers: IncomingHttpHeaders, bytes: Buffer): Answer {
  const text = bytes.toString()
  return { status, headers, text, json: parsed(text), events: eventsOf(text) }
}

export async function visit(url: string, path: string, what?: Ask): Promise<Visit> {
  const sent = begin(url, path, what)
  const response = await answered(sent)
  const parts = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  const next = async () => {
    const { done, value } = await parts.next()
    return done ? undefined : value.toString()
  }
  return {
    response,
    next,
    async rest() {
      let text = ''
      for (let part = await next(); part !== undefined; part = await next()) text += part
      return text
    },
    leave: () => void sent.destroy(),
  }
}

/** Asks for all paths over one connection without waiting in between, and gives the statuses. */
export async function pipelined(url: string, paths: readonly string[]): Promise<number[]> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  const last = paths.length - 1
  socket.write(
    paths
      .map(
        (path, i) =>
          `GET ${path} HTTP/1.1\r\nhost: a\r\n${i === last ? 'connection: close\r\n' : ''}\r\n`,
      )
      .join(''),
  )
  const parts: Buffer[] = []
  for await (const part of socket as AsyncIterable<Buffer>) parts.push(part)
  return [
    ...Buffer.concat(parts)
      .toString()
      .matchAll(/HTTP\/1\.1 (\d{3}) /g),
  ].map(([, status]) => Number(status))
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The events in a text, by a parser that is not ours. */
function eventsOf(text: string): SentEvent[] {
  const events: SentEvent[] = []
  createParser({
    onEvent: ({ event, data }) => events.push({ event: event ?? 'message', data }),
  }).feed(text)
  return events
}

/** The text of a stream's events. */
export const textOf = (events: readonly SentEvent[]): string =>
  events
    .filter(({ data }) => data.startsWith('{'))
    .map(({ data }) => JSON.parse(data).text)
    .join('')
