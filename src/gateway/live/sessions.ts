import { randomBytes } from 'node:crypto'
import { now } from '../../core/index.js'

/** Who has shown the token may watch for so long. Milliseconds. */
export const SESSION_MS = 12 * 3_600_000
/** Above it the oldest session ends. */
const MOST_SESSIONS = 100

/** Sessions of those who have shown the token: good for the page and its feed, and nothing else. */
export class Sessions {
  /** When each ends, the oldest first. */
  readonly #endsAt = new Map<string, number>()

  /** Begins a session. Its id is a secret, and tells nothing of the token. */
  begin(): string {
    const id = randomBytes(32).toString('base64url')
    this.#endsAt.set(id, now() + SESSION_MS)
    const [oldest] = this.#endsAt.keys()
    if (this.#endsAt.size > MOST_SESSIONS) this.end(oldest)
    return id
  }

  has(id: string | undefined): boolean {
    const endsAt = id === undefined ? undefined : this.#endsAt.get(id)
    if (endsAt !== undefined && endsAt > now()) return true
    this.end(id)
    return false
  }

  end(id: string | undefined): void {
    if (id !== undefined) this.#endsAt.delete(id)
  }
}
