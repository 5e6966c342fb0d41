/** A stored answer. */
export interface KeptReply {
  /** A digest of the request's body. */
  readonly body: string
  /** When it expires, on the `performance.now()` clock. */
  readonly until: number
  /** Content type. */
  readonly type: string
  readonly content: string | Uint8Array
}

/** Maximum number of stored answers, and of their bytes together. The oldest are deleted first. */
const MOST = 10_000
const MOST_BYTES = 64 * 1024 * 1024
/** Larger answers are not stored. Bytes. */
const LARGEST = 8 * 1024 * 1024

/** The stored answers by key, oldest first. */
export class KeptReplies {
  readonly #replies = new Map<string, KeptReply>()
  #bytes = 0

  get(id: string, at: number): KeptReply | undefined {
    const reply = this.#replies.get(id)
    if (reply === undefined || at < reply.until) return reply
    this.#delete(id, reply)
    return undefined
  }

  add(id: string, reply: KeptReply): void {
    const size = sizeOf(reply)
    if (size > LARGEST) return
    this.#replies.set(id, reply)
    this.#bytes += size
    for (const [oldest, one] of this.#replies) {
      if (this.#replies.size <= MOST && this.#bytes <= MOST_BYTES) break
      this.#delete(oldest, one)
    }
  }

  clear(): void {
    this.#replies.clear()
    this.#bytes = 0
  }

  #delete(id: string, reply: KeptReply): void {
    this.#replies.delete(id)
    this.#bytes -= sizeOf(reply)
  }
}

const sizeOf = ({ content }: KeptReply): number => content.length
