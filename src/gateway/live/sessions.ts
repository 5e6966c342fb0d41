import { randomBytes } from 'node:crypto'
import { now } from '../../core/index.js'

/** How long a session lasts after signing in. Milliseconds. */
export const SESSION_MS = 12 * 3_600_000
/** Maximum number of sessions; the oldest ends first. */
const MOST_SESSIONS = 100

/** Sessions of signed-in users. They give access to the page and its feed only. */
export class Sessions {
  /** End of each session, oldest session first. */
  readonly #endsAt = new Map<string, number>()

  /** Begins a session. Its id is secret, and the token cannot be derived from it. */
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
