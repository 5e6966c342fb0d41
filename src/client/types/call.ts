import type { CallOptions } from '../../core/index.js'

/** Options that every method accepts in addition to its own fields; see `CallOptions`. */
export interface BlossomCallOptions extends CallOptions {
  /**
   * API key for this call only, such as the caller's own. The call is billed to this key, and its
   * answers are cached separately.
   * @default the client's key
   */
  apiKey?: string | undefined
}
