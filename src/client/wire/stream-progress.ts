import type { BlossomRequest } from '../types.js'
import { ChoiceProgress } from './choices.js'
import { MessageProgress } from './messages/events.js'
import { ResponseProgress } from './responses/events.js'
import { COMPLETIONS, isChat, isMessages, isResponses } from './shapes.js'

/** Tracks a stream by the rules of its API. */
export interface StreamProgress {
  /** Records one event. Events that are not part of the answer are ignored. */
  see(event: unknown): void
  /** The stream is complete. */
  readonly isWhole: boolean
  /** The stream is complete, has output, and no content was filtered. */
  readonly isWorthKeeping: boolean
  /** The last event has arrived, in an API that sends no `[DONE]`. */
  readonly hasEnded: boolean
}

/** For unknown APIs: any end of the body counts as complete, but the stream is not cached. */
const UNKNOWN: StreamProgress = {
  see: () => {},
  isWhole: true,
  isWorthKeeping: false,
  hasEnded: false,
}

/** The tracker for the streamed answer to a request. */
export function progressOf(request: BlossomRequest): StreamProgress {
  if (isChat(request) || request.path === COMPLETIONS) return new ChoiceProgress()
  if (isResponses(request)) return new ResponseProgress()
  if (isMessages(request)) return new MessageProgress()
  return UNKNOWN
}

/** Whether the events are a complete stream of a known API, with output. */
export function areWorthKeeping(events: readonly unknown[]): boolean {
  const all = [new ChoiceProgress(), new ResponseProgress(), new MessageProgress()]
  for (const event of events) for (const progress of all) progress.see(event)
  return all.some(({ isWorthKeeping }) => isWorthKeeping)
}
