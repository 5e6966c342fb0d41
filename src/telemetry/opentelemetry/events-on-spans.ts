import type { StackEvent } from '../../core/index.js'
import { put } from './attributes.js'
import type { CallSpan } from './call-span.js'

/** Codes of rejections by a limit. */
const LIMITED: ReadonlySet<string | undefined> = new Set(['RATE_LIMITED', 'BUDGET', 'QUEUE_FULL'])

/** Adds an event of a call to its span, unless the span already shows it. */
export function eventOn(call: CallSpan, event: StackEvent): void {
  const described = describe(event)
  if (described === undefined) return
  const { name, ...details } = described
  const attributes: Record<string, unknown> = {}
  for (const [detail, value] of Object.entries(details)) attributes[`blossom.${detail}`] = value
  call.span.addEvent(`blossom.${name}`, put({}, attributes), call.time(event.at))
}

/** Name and attributes of an event on a span. */
interface SpanEvent {
  readonly name: string
  readonly [detail: string]: string | number | boolean | undefined
}

function describe(event: StackEvent): SpanEvent | undefined {
  switch (event.type) {
    case 'queued':
      return { name: 'queued', layer: event.layer, waited_ms: event.waitedMs }
    case 'cache':
      // The spans of the attempts already show a miss.
      return event.status === 'miss'
        ? undefined
        : { name: 'cache', layer: event.layer, status: event.status }
    case 'retry':
      return { name: 'retry', layer: event.layer, delay_ms: event.delayMs, code: event.code }
    case 'fallback':
      return {
        name: 'fallback',
        layer: event.layer,
        candidate: event.candidate,
        model: event.model,
        code: event.code,
      }
    case 'hedge':
      return {
        name: 'hedged',
        layer: event.layer,
        outcome: event.outcome,
        delay_ms: event.delayMs,
        model: event.model,
      }
    case 'breaker':
      return { name: 'breaker', layer: event.layer, state: event.state }
    case 'alone':
      return { name: 'alone', layer: event.layer }
    case 'timeout':
      return { name: 'limited', layer: event.layer, phase: event.phase, limit_ms: event.limitMs }
    case 'budget':
      return { name: 'limited', layer: event.layer, spent: event.spent, limit: event.limit }
    case 'call:end':
      return LIMITED.has(event.code) && event.layer !== undefined
        ? { name: 'limited', layer: event.layer, code: event.code }
        : undefined
    default:
      return undefined
  }
}
