export { type CollectTextOptions, collectText } from './collect-text.js'
export type { ServerSentEvent } from './event-frame.js'
export { type NdjsonOptions, toNdjson } from './ndjson.js'
export { type NodeReadableOptions, toNodeReadable } from './node-readable.js'
export { type Problem, type ProblemBody, type ProblemOptions, toProblem } from './problem.js'
export {
  type ServerSentEventsOptions,
  sseHeaders,
  toServerSentEvents,
} from './server-sent-events.js'
export { type SmoothOptions, smooth } from './smooth.js'
export { toWebStream, type WebStreamOptions } from './web-stream.js'
