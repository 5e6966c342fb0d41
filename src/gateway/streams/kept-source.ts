import type { LogPart, LogReader, StreamEnd } from '../../core/index.js'
import { fellBehind } from './errors.js'
import type { EventSource } from './followed-events.js'

/** The stored events of a stream that has ended on this server. */
export class KeptSource implements EventSource {
  readonly #reader: LogReader
  #end: StreamEnd = { outcome: 'complete' }

  constructor(reader: LogReader) {
    this.#reader = reader
  }

  async read(): Promise<LogPart> {
    const part = await this.#reader.read()
    if (part.state === 'trimmed') this.#end = { outcome: 'failed', error: fellBehind() }
    return part
  }

  leave(): void {
    this.#reader.leave()
  }

  end(): StreamEnd {
    return this.#end
  }
}
