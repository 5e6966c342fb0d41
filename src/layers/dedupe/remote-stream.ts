import {
  type LogPart,
  type LogReader,
  StackError,
  Stream,
  type StreamSource,
} from '../../core/index.js'
import { type Entry, readEntry } from './entries.js'

/** How far to read ahead. A log of this size accepts no new readers. Bytes. */
const AHEAD = 1024 * 1024

/** A stream that another process writes to a log. `first` is the part already read. */
export function remoteStream(reader: LogReader, first: LogPart, layer: string): Stream<unknown> {
  const frames = readEntry(first.entries[0] ?? '')?.kind === 'frame'
  const source = new LogSource(reader, layer)
  const stream = Stream.over<unknown>(source, { committed: true, frames })
  source.fill(stream, first)
  return stream
}

class LogSource implements StreamSource {
  readonly #reader: LogReader
  readonly #layer: string
  #stream: Stream<unknown> | undefined
  #isPulled = false
  #isReading = false

  constructor(reader: LogReader, layer: string) {
    this.#reader = reader
    this.#layer = layer
  }

  fill(stream: Stream<unknown>, first: LogPart): void {
    this.#stream = stream
    if (this.#take(first)) void this.#readOn()
  }

  pull(): void {
    this.#isPulled = true
    void this.#readOn()
  }

  stop(): void {
    this.#reader.leave()
  }

  async #readOn(): Promise<void> {
    if (this.#isReading || this.#stream === undefined) return
    this.#isReading = true
    while (this.#isPulled || this.#stream.log.wants(AHEAD)) {
      this.#isPulled = false
      if (!this.#take(await this.#reader.read())) return
    }
    this.#isReading = false
  }

  /** Returns whether more may come. */
  #take({ entries, state }: LogPart): boolean {
    for (const text of entries) if (!this.#put(readEntry(text))) return false
    if (state !== 'open') {
      this.#stream?.log.fail(ownerLost(this.#layer))
      return false
    }
    this.#stream?.log.flush()
    return true
  }

  #put(entry: Entry | undefined): boolean {
    const log = this.#stream?.log
    switch (entry?.kind) {
      case 'frame':
        log?.append(entry.frame)
        return true
      case 'chunk':
        log?.append(entry.chunk)
        return true
      case 'end':
        log?.end(entry.end)
        return false
      default:
        this.#reader.leave()
        log?.fail(entry?.kind === 'error' ? entry.error : ownerLost(this.#layer))
        return false
    }
  }
}

/** The error when the rest of the answer will not arrive. */
function ownerLost(layer: string): StackError {
  const cause = Object.assign(new Error('The shared log of the stream ended early.'), {
    code: 'OWNER_LOST',
  })
  const message =
    'The stream broke: the process that received this shared answer has stopped or is unreachable. Retry the call.'
  return new StackError(message, { code: 'STREAM', status: 502, layer, cause })
}
