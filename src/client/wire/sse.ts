import { StringDecoder } from 'node:string_decoder'
import { createParser } from 'eventsource-parser'

const BYTE_ORDER_MARK = '\ufeff'

/** What comes out of an event stream's bytes. */
export interface EventReader {
  /** The `data` of one event, and its name if it has one. */
  onData(data: string, event: string | undefined): void
  /** An event is longer than allowed; nothing more is read. */
  onTooLong(): void
}

/**
 * Reads `text/event-stream` bytes, however they are cut. Comments are passed over; an event that
 * its blank line has not ended is not delivered.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export function readEvents(reader: EventReader, maxEventBytes: number): (bytes: Buffer) => void {
  // Decodes as `TextDecoder` does in a fifth of the time, but keeps a byte order mark.
  const decoder = new StringDecoder('utf8')
  let hasBegun = false
  let stopped = false
  /**
   * Characters since the last event. The parser counts only what it keeps, and many short lines
   * cost more than that.
   */
  let pending = 0
  const stop = () => {
    if (stopped) return
    stopped = true
    reader.onTooLong()
  }
  const parser = createParser({
    onEvent: ({ data, event }) => {
      pending = 0
      if (!stopped) reader.onData(data, event)
    },
    onError: ({ type }) => {
      // Other errors are unknown fields and bad retry values, which the standard ignores.
      if (type === 'max-buffer-size-exceeded') stop()
    },
    maxBufferSize: maxEventBytes,
  })
  return (bytes) => {
    if (stopped) return
    let text = decoder.write(bytes)
    if (!hasBegun && text !== '') {
      hasBegun = true
      if (text.startsWith(BYTE_ORDER_MARK)) text = text.slice(1)
    }
    pending += text.length
    parser.feed(text)
    if (pending > maxEventBytes) stop()
  }
}
