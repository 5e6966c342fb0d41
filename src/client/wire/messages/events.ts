import { isRecord } from '../../../core/index.js'

/** Events of Anthropic's Messages stream that contain no output. */
const WITHOUT_OUTPUT: ReadonlySet<unknown> = new Set([
  'message_start',
  'content_block_start',
  'content_block_stop',
  'message_delta',
])

/** Whether an event of a Messages stream contains no output. */
export const isWithoutOutput = (event: Readonly<Record<string, unknown>>): boolean =>
  WITHOUT_OUTPUT.has(event.type)

/** Whether a message has content and a stop reason that is not a refusal. */
export const isWorthKeeping = ({
  stop_reason,
  content,
}: Readonly<Record<string, unknown>>): boolean =>
  typeof stop_reason === 'string' &&
  stop_reason !== 'refusal' &&
  Array.isArray(content) &&
  content.length > 0

/** Tracks a Messages stream, which ends with `message_stop`. */
export class MessageProgress {
  #reason: unknown
  #hasOutput = false
  hasEnded = false

  see(event: unknown): void {
    if (!isRecord(event)) return
    const { type, delta } = event
    if (type === 'content_block_delta') this.#hasOutput = true
    else if (type === 'message_delta' && isRecord(delta))
      this.#reason = delta.stop_reason ?? this.#reason
    else if (type === 'message_stop') this.hasEnded = true
  }

  get isWhole(): boolean {
    return this.hasEnded
  }

  get isWorthKeeping(): boolean {
    return this.hasEnded && this.#hasOutput && this.#reason !== 'refusal'
  }
}
