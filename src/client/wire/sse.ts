import { StringDecoder } from 'node:string_decoder'
import { createParser } from 'eventsource-parser'

const BYTE_ORDER_MARK = '\ufeff'

/** Receives the events read from a stream of bytes. */
export interface EventReader {
  /** Called with the `data` of one event, and its name if it has one. */
  onData(data: string, event: string | undefined): void
  /** Called if an event is longer than allowed; nothing more is read. */
  onTooLong(): void
}

/**
 * Reads `text/event-stream` bytes, split at any position. Comments are ignored; an event is
 * delivered only after its closing blank line.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export function readEvents(reader: EventReader, maxEventBytes: number): (bytes: Buffer) => void {
  // Five times faster than `TextDecoder`, but does not remove a byte order mark.
  const decoder = new StringDecoder('utf8')
  let hasBegun = false
  let stopped = false
  /**
   * Characters since the last event. The parser's own limit does not count comments and unknown
   * fields.
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
