import type { ClientNote } from '../types.js'
import { type Headers, requestIdOf, safeHeaders } from './failure.js'

/** The client's note of one call. Its headers are filtered only when they are read. */
export class CallNote implements ClientNote {
  attempts = 0
  requestId: string | undefined = undefined
  #headers: Headers = {}
  #apiKey: string | undefined

  /** Records the headers of an answer that has begun. */
  see(headers: Headers, apiKey: string | undefined): void {
    this.requestId = requestIdOf(headers, apiKey)
    this.#headers = headers
    this.#apiKey = apiKey
  }

  get headers(): Readonly<Record<string, string>> {
    return safeHeaders(this.#headers, this.#apiKey)
  }
}
