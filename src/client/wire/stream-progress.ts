import type { BlossomRequest } from '../types.js'
import { ChoiceProgress } from './choices.js'
import { MessageProgress } from './messages/events.js'
import { ResponseProgress } from './responses/events.js'
import { COMPLETIONS, isChat, isMessages, isResponses } from './shapes.js'

/** How far a stream has come, by the rules of its API. */
export interface StreamProgress {
  /** Takes in one event; what is no part of the answer changes nothing. */
  see(event: unknown): void
  /** Nothing is missing. */
  readonly isWhole: boolean
  /** Nothing is missing, there is something in it, and nothing was taken out. */
  readonly isWorthKeeping: boolean
  /** The last event has come, and no mark such as `[DONE]` need follow. */
  readonly hasEnded: boolean
}

/** Of what is known nothing: it is whole when its body ends, which could also be a cut. */
const UNKNOWN: StreamProgress = {
  see: () => {},
  isWhole: true,
  isWorthKeeping: false,
  hasEnded: false,
}

/** Judges the answer to a request as a stream. */
export function progressOf(request: BlossomRequest): StreamProgress {
  if (isChat(request) || request.path === COMPLETIONS) return new ChoiceProgress()
  if (isResponses(request)) return new ResponseProgress()
  if (isMessages(request)) return new MessageProgress()
  return UNKNOWN
}

/** Whether the events are a whole stream of an API that is known, with something in it. */
export function areWorthKeeping(events: readonly unknown[]): boolean {
  const all = [new ChoiceProgress(), new ResponseProgress(), new MessageProgress()]
  for (const event of events) for (const progress of all) progress.see(event)
  return all.some(({ isWorthKeeping }) => isWorthKeeping)
}
