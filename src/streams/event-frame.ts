import { ConfigError } from '../core/index.js'

/** One event. `data` may contain any characters; `event` and `id` must not contain line breaks. */
export interface ServerSentEvent {
  event?: string | undefined
  id?: string | undefined
  data: string
}

/**
 * Writes an event in wire format, including the empty line.
 * @throws {ConfigError} (`CONFIG`) when a field could break the frame or is not a string
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 * @internal
 */
export function frame({ event, id, data }: ServerSentEvent): string {
  if (typeof data !== 'string')
    throw new ConfigError('toServerSentEvents: data() must return a string or undefined.', {
      layer: 'toServerSentEvents',
    })
  // Lines may end in LF, CR or CRLF. A client joins the lines with LF.
  const isOneLine = !data.includes('\n') && !data.includes('\r')
  const lines = isOneLine ? data : data.replace(/\r\n|\r|\n/g, '\ndata: ')
  if (event === undefined && id === undefined) return `data: ${lines}\n\n`
  return `${field('event', event)}${field('id', id)}data: ${lines}\n\n`
}

function field(name: string, value: string | undefined): string {
  if (value === undefined) return ''
  // Clients silently ignore an id that contains NUL.
  if (typeof value !== 'string' || /[\r\n\0]/.test(value)) {
    throw new ConfigError(
      `toServerSentEvents: ${name} must be a string without line breaks or NUL.`,
      { layer: 'toServerSentEvents' },
    )
  }
  return `${name}: ${value}\n`
}
