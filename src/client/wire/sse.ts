import { createParser } from 'eventsource-parser'

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
export function readEvents(
  reader: EventReader,
  maxEventBytes: number,
): (bytes: Uint8Array) => void {
  const decoder = new TextDecoder()
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
    const text = decoder.decode(bytes, { stream: true })
    pending += text.length
    parser.feed(text)
    if (pending > maxEventBytes) stop()
  }
}
