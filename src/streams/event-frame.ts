import { ConfigError } from '../core/index.js'

/** One event. `data` may have any characters; a line break in `event` or `id` is refused. */
export interface ServerSentEvent {
  event?: string | undefined
  id?: string | undefined
  data: string
}

/**
 * An event as it goes over the wire, its empty line included.
 * @throws {ConfigError} when a member could break the frame or is no string
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 * @internal
 */
export function frame({ event, id, data }: ServerSentEvent): string {
  if (typeof data !== 'string')
    throw new ConfigError(`toServerSentEvents: data must be a string.`, {
      layer: 'toServerSentEvents',
    })
  // The lines' ends are LF, CR and CRLF, whichever a text has; a reader joins the lines with LF.
  const isOneLine = !data.includes('\n') && !data.includes('\r')
  const lines = isOneLine ? data : data.replace(/\r\n|\r|\n/g, '\ndata: ')
  if (event === undefined && id === undefined) return `data: ${lines}\n\n`
  return `${field('event', event)}${field('id', id)}data: ${lines}\n\n`
}

function field(name: string, value: string | undefined): string {
  if (value === undefined) return ''
  // Readers ignore an id that holds NUL, so it would silently be none.
  if (typeof value !== 'string' || /[\r\n\0]/.test(value)) {
    throw new ConfigError(
      `toServerSentEvents: ${name} must be a string without line breaks and NUL.`,
      { layer: 'toServerSentEvents' },
    )
  }
  return `${name}: ${value}\n`
}
