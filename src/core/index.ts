export { base } from './base.js'
export { addAttempts, forkNotes, takeNotes } from './call/notes.js'
export { CALL_OPTIONS } from './call/options.js'
export { Running, type Work } from './call/running.js'
export * as rules from './check.js'
export { check, type Rule } from './check.js'
export { Destination, type Target } from './destination.js'
export * from './errors.js'
export { type Carrier, carriers } from './events/carriers.js'
export {
  type EventListener,
  type EventOutcome,
  type EventUsage,
  onEvent,
  type StackEvent,
  type StackEventType,
  type TimelineEntry,
} from './events/index.js'
export { LISTEN } from './events/listeners.js'
export { Notes, type Trace } from './events/trace.js'
export { type Follower, follow, proceed } from './follow.js'
export { isJson, isRecord, Json, parseJson, readJson, readText } from './json.js'
export { digest, stableKey } from './key.js'
export {
  defineLayer,
  LAYERS,
  type Layer,
  type LayerDefinition,
  type LayerEntry,
  type LayerOf,
} from './layer.js'
export { Link, LinkedList } from './linked-list.js'
export { type NestedStack, STACK, stackOf } from './nested.js'
export { OneShotBases } from './one-shot.js'
export { isOfOwnKey } from './own-key.js'
export { processWide } from './process-wide.js'
export { safeMessageOf, UNEXPECTED } from './safe-message.js'
export {
  isBytes,
  isDate,
  isError,
  isMap,
  isPlain,
  isResponse,
  isSignal,
  isThenable,
} from './shape.js'
export {
  type CircuitOpening,
  type CircuitWatcher,
  type EntriesWatcher,
  isSharedState,
  type Job,
  type JobFile,
  type JobFileTerms,
  type JobLine,
  type JobResult,
  type JobRunner,
  type JobsState,
  type JobWorker,
  jobIdOf,
  type LimitCorrection,
  type LimitOrder,
  type LimitReply,
  type ListPart,
  type ListPlace,
  type LogClaim,
  type LogOptions,
  type LogPart,
  type LogReader,
  type LogWatcher,
  type LogWriter,
  type NewJobFile,
  type NewJobs,
  type SharedCircuit,
  type SharedCircuits,
  type SharedEntries,
  type SharedFiles,
  type SharedJobs,
  type SharedJobsOptions,
  type SharedLimits,
  type SharedLogs,
  type SharedSlot,
  type SharedSlots,
  type SharedState,
  sharedState,
  type UnrunReason,
} from './shared-state/index.js'
export { isJsonData, type Shared, SharedJson, share, shareList } from './shared-value.js'
export { slices } from './slices.js'
export { composeStack, stack } from './stack.js'
export * from './stack-types.js'
export * from './stream/index.js'
export { type AbortListener, Cancel } from './time/cancel.js'
export { type Clock, currentClock, now, setClock, wallTime } from './time/clock.js'
export { DeadlineHeap, type Expiring, NOT_WAITING } from './time/deadline-heap.js'
export { backgroundDeadlines, Deadlines, deadlines, remaining } from './time/deadlines.js'
export { IdleTimer } from './time/idle-timer.js'
export { inTime } from './time/in-time.js'
export { abortScope, Scope } from './time/scope.js'
export { cancelOf } from './time/signals.js'
export { sleep } from './time/sleep.js'
export { Timer } from './time/timer.js'
export { tokensOf } from './tokens.js'
export * from './traits.js'
export { TransientMap } from './transient-map.js'
export * from './types.js'
export { atOnce, hookFailed, runHook, warn } from './warn.js'
