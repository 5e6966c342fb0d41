import type { CallOptions } from '../../core/index.js'

/** Beside its own fields every method takes these; see `CallOptions`. */
export interface BlossomCallOptions extends CallOptions {
  /**
   * Another key for this call alone, such as the caller's own: it pays, and its answers are cached
   * apart.
   * @default the client's
   */
  apiKey?: string | undefined
}
