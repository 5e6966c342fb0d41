// The entry `blossom-stack/core`: the layers, for use around any function. It loads neither the
// client nor undici.
export { base } from './core/base.js'
export type { Target, TargetClient, TargetOptions } from './core/destination.js'
export {
  BreakerOpenError,
  BudgetError,
  ClosedError,
  ConfigError,
  type ErrorCode,
  isStackError,
  type LimitUnit,
  QueueFullError,
  RateLimitError,
  StackError,
  TimeoutError,
  type TimeoutPhase,
  ValidationError,
} from './core/errors.js'
export {
  type CallMessage,
  type EventCode,
  type EventListener,
  type EventOutcome,
  type EventUsage,
  onEvent,
  type StackEvent,
  type StackEventDetails,
  type StackEventType,
  type TimelineEntry,
} from './core/events/index.js'
export { Json } from './core/json.js'
export { defineLayer, type Layer, type LayerDefinition, type LayerOf } from './core/layer.js'
export type {
  BucketTerms,
  CircuitOpening,
  CircuitWatcher,
  EntriesWatcher,
  Job,
  JobFile,
  JobFileTerms,
  JobLine,
  JobResult,
  JobRunner,
  JobsState,
  JobsStatus,
  JobWorker,
  LimitCorrection,
  LimitOrder,
  LimitReply,
  ListPart,
  ListPlace,
  LogClaim,
  LogOptions,
  LogPart,
  LogReader,
  LogWatcher,
  LogWriter,
  NewJobFile,
  NewJobs,
  SharedCircuit,
  SharedCircuits,
  SharedEntries,
  SharedFiles,
  SharedJobs,
  SharedJobsOptions,
  SharedLimits,
  SharedLogs,
  SharedSlot,
  SharedSlots,
  SharedState,
  SharedStateStats,
  UnrunReason,
  WindowTerms,
} from './core/shared-state/index.js'
export { stack } from './core/stack.js'
export type {
  CloseOptions,
  Handed,
  LayerDescription,
  Stack,
  StackStats,
} from './core/stack-types.js'
export {
  collect,
  isStream,
  type OnEnd,
  onEnd,
  replay,
  type StreamEnd,
  tap,
} from './core/stream/index.js'
export type { Cancel } from './core/time/cancel.js'
export { abortScope, type Scope } from './core/time/scope.js'
export type { AnswerReport, BaseFacts, BaseTraits, TokenUsage } from './core/traits.js'
export type {
  AnsweredBy,
  CacheMode,
  CallOptions,
  Context,
  ContextPatch,
  Handler,
  MaybePromise,
  Place,
  RetryAllowance,
  SharedWork,
  TelemetryNote,
  Transport,
} from './core/types.js'
export { type BatcherOptions, type BatcherStats, batcher } from './layers/batcher/index.js'
export {
  type BreakerLayer,
  type BreakerOptions,
  type BreakerSnapshot,
  type BreakerState,
  type BreakerStats,
  breaker,
  type CircuitSnapshot,
} from './layers/breaker/index.js'
export {
  type CacheLayer,
  type CacheNote,
  type CacheOptions,
  type CacheStats,
  type CacheStore,
  cache,
} from './layers/cache/index.js'
export { type DedupeOptions, type DedupeStats, dedupe } from './layers/dedupe/index.js'
export {
  type FallbackCandidate,
  type FallbackOptions,
  type FallbackStats,
  fallback,
} from './layers/fallback/index.js'
export type { HedgeBudgetOptions } from './layers/hedge/budget.js'
export { type HedgeOptions, type HedgeStats, hedge } from './layers/hedge/index.js'
export {
  type PoolMember,
  type PoolMemberStats,
  type PoolOptions,
  type PoolStats,
  pool,
} from './layers/pool/index.js'
export {
  type AdaptiveConcurrency,
  type QueueLayer,
  type QueueOptions,
  type QueueSettings,
  type QueueStats,
  type QueueTenant,
  queue,
} from './layers/queue/index.js'
export {
  type LimitCostOptions,
  type LimitLevel,
  type LimitPlan,
  type LimitRateOptions,
  type RateLimitLayer,
  type RateLimitNote,
  type RateLimitOptions,
  type RateLimitSettings,
  type RateLimitStats,
  rateLimit,
} from './layers/rate-limit/index.js'
export type { RetryBudgetOptions } from './layers/retry/budget.js'
export { type RetryOptions, type RetryStats, retry } from './layers/retry/index.js'
export { type TimeoutOptions, type TimeoutStats, timeout } from './layers/timeout.js'
export { type StandardLayers, type StandardOptions, standard } from './standard.js'
export * from './streams/index.js'
