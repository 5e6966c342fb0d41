export { base } from './base.js'
export { Running, Work } from './call/running.js'
export * as rules from './check.js'
export { check } from './check.js'
export * from './errors.js'
export {
  type EventListener,
  onEvent,
  type StackEvent,
  type StackEventType,
  type TimelineEntry,
} from './events/index.js'
export { Notes, type Trace } from './events/trace.js'
export { follow, proceed } from './follow.js'
export { isJson, isRecord, Json, parseJson, readJson, readText } from './json.js'
export { digest, stableKey } from './key.js'
export { defineLayer, LAYERS, type LayerDefinition, type LayerEntry } from './layer.js'
export { isJsonData, type JsonData, type Shared, SharedJson, share, shareList } from './share.js'
export { composeStack, stack } from './stack.js'
export * from './stream/index.js'
export { type Alarm, type AlarmListener, Alarms } from './time/alarms.js'
export {
  type AbortListener,
  abortScope,
  Cancel,
  cancelOf,
  remaining,
  Scope,
  sleep,
  Timer,
} from './time/cancel.js'
export { TransientMap } from './transient-map.js'
export * from './types.js'
export { atOnce, hookFailed, runHook, warn } from './warn.js'
