import { createParser } from 'eventsource-parser'

/** What comes out of an event stream's bytes. */
export interface EventReader {
  /** The `data` of one event. */
  onData(data: string): void
  /** An event is longer than allowed; nothing more is read. */
  onTooLong(): void
}

/**
 * Reads `text/event-stream` bytes, however they are cut. Comments are passed over; an event that its blank line has not ended is not delivered.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export function readEvents(reader: EventReader, maxEventBytes: number): (bytes: Uint8Array) => void {
  const decoder = new TextDecoder()
  let stopped = false
  const parser = createParser({
    onEvent: ({ data }) => {
      if (!stopped) reader.onData(data)
    },
    onError: ({ type }) => {
      // Other errors are unknown fields and bad retry values, which the standard says to pass over.
      if (type !== 'max-buffer-size-exceeded' || stopped) return
      stopped = true
      reader.onTooLong()
    },
    maxBufferSize: maxEventBytes,
  })
  return (bytes) => {
    if (!stopped) parser.feed(decoder.decode(bytes, { stream: true }))
  }
}
