import type { Attributes, Context, Span, Tracer } from '@opentelemetry/api'
import { type Carrier, now, runHook, type StackEvent } from '../../core/index.js'
import type { OpenTelemetry } from './api.js'
import { askedAttributes, put, type Semconv, serverOf } from './attributes.js'
import { CallSpan, offsetNow } from './call-span.js'
import { inputOf, textAdded } from './content.js'
import { endAttributes } from './end-attributes.js'
import { eventOn } from './events-on-spans.js'
import type { GenAiMetrics } from './metrics.js'

type EventOf<Type extends StackEvent['type']> = Extract<StackEvent, { type: Type }>

/** The checked options of `instrument()`. */
export interface TracingOptions {
  readonly api: OpenTelemetry
  readonly tracer: Tracer
  readonly metrics: GenAiMetrics
  readonly semconv: Semconv
  readonly captureContent: boolean
  readonly propagate: boolean
}

/** Records spans and metrics from events, and runs the work inside the context of its span. */
export class Tracing implements Carrier {
  readonly #options: TracingOptions
  readonly #calls = new Map<string, CallSpan>()

  constructor(options: TracingOptions) {
    this.#options = options
  }

  readonly onEvent = (event: StackEvent): void => {
    switch (event.type) {
      case 'call:start':
        return this.#begin(event)
      case 'attempt:start':
        return this.#attempt(event)
      case 'attempt:end':
        return this.#attemptEnded(event)
      case 'call:end':
        return this.#end(event)
      case 'joined':
        return this.#joined(event)
      default: {
        const call = this.#calls.get(event.call)
        if (call !== undefined && !call.hasEnded) eventOn(call, event)
      }
    }
  }

  /** Ends the spans of running calls, which get no further events. */
  stop(): void {
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    for (const call of calls)
      runHook('A tracing hook', () => {
        for (const { span } of call.attempts.values()) span.end()
        if (!call.hasEnded) call.span.end()
      })
  }

  // From the work.

  run<T>(id: string, attempt: number, work: () => T): T {
    const running = this.#calls.get(id)?.at(attempt)
    return running === undefined ? work() : this.#options.api.context.with(running.context, work)
  }

  asked(id: string, request: unknown): void {
    if (!this.#options.captureContent) return
    this.#calls.get(id)?.span.setAttribute('gen_ai.input.messages', inputOf(request))
  }

  sent(id: string, attempt: number, to: { method: string; origin: string }): readonly string[] {
    const call = this.#calls.get(id)
    const running = call?.attempts.get(attempt)
    if (call === undefined || running === undefined) return []
    call.server = serverOf(to.origin)
    const { span } = running
    span.updateName(to.method)
    span.setAttributes({ 'http.request.method': to.method, ...call.server.attributes })
    return this.#options.propagate ? this.#parentHeader(span) : []
  }

  came(id: string, attempt: number, part: unknown, isChunk: boolean): void {
    const call = this.#calls.get(id)
    if (call === undefined) return
    if (this.#options.captureContent) call.text += textAdded(part)
    const running = isChunk ? call.attempts.get(attempt) : undefined
    if (running === undefined) return
    const at = now()
    if (running.lastChunkAt !== undefined)
      this.#options.metrics.chunk(call.asked, call.server, at - running.lastChunkAt)
    running.lastChunkAt = at
  }

  traceIdOf(id: string): string | undefined {
    const context = this.#calls.get(id)?.span.spanContext()
    return context?.traceId === this.#options.api.INVALID_TRACEID ? undefined : context?.traceId
  }

  // From events.

  #begin(event: EventOf<'call:start'>): void {
    const { api, semconv } = this.#options
    const { call: id, stack, operation, model, tenant, stream, at } = event
    const parent = event.parent === undefined ? undefined : this.#calls.get(event.parent)
    const around = parent?.at(event.attempt ?? 0) ?? parent
    const offset = parent?.offset ?? offsetNow()
    const attributes = put(askedAttributes({ operation, model }, semconv), {
      'blossom.stack': stack,
      'blossom.tenant': tenant,
      'gen_ai.request.stream': operation === undefined ? undefined : stream,
    })
    const name = [operation ?? stack, model].filter((word) => word !== undefined).join(' ')
    const outside = around?.context ?? api.context.active()
    const { span, context } = this.#start(name, attributes, at + offset, outside)
    const isPart = parent !== undefined
    this.#calls.set(id, new CallSpan(span, context, { operation, model }, { isPart, offset }))
  }

  #attempt({ call: id, attempt, member, at }: EventOf<'attempt:start'>): void {
    const call = this.#calls.get(id)
    if (call === undefined) return
    const attributes = put(
      {},
      {
        'blossom.attempt': attempt,
        'blossom.member': member,
        'http.request.resend_count': attempt > 1 ? attempt - 1 : undefined,
      },
    )
    const running = this.#start('attempt', attributes, call.time(at), call.context)
    call.attempts.set(attempt, running)
  }

  #start(name: string, attributes: Attributes, startTime: number, outside: Context) {
    const { api, tracer } = this.#options
    const options = { kind: api.SpanKind.CLIENT, attributes, startTime }
    const span = tracer.startSpan(name, options, outside)
    return { span, context: api.trace.setSpan(outside, span) }
  }

  #attemptEnded(event: EventOf<'attempt:end'>): void {
    const { operation, model, responseModel, outcome, code, status, usage, nested } = event
    const call = this.#calls.get(event.call)
    // Count tokens even if the call that began shared work has ended and only others wait for it.
    if (usage !== undefined && !nested)
      this.#options.metrics.usage({ operation, model, responseModel }, call?.server, usage)
    const running = call?.attempts.get(event.attempt)
    if (call === undefined || running === undefined) return
    const { span } = running
    if (status !== undefined) span.setAttribute('http.response.status_code', status)
    if (outcome !== 'complete') span.setAttribute('blossom.outcome', outcome)
    this.#close(span, code, call.time(event.at))
    call.attempts.delete(event.attempt)
    if (call.hasEnded && call.attempts.size === 0) this.#calls.delete(event.call)
  }

  #end(event: EventOf<'call:end'>): void {
    const call = this.#calls.get(event.call)
    if (call === undefined || call.hasEnded) return
    call.hasEnded = true
    const { responseModel, code, durationMs, firstTokenMs } = event
    if (!call.isPart)
      this.#options.metrics.call(
        { ...call.asked, responseModel, code },
        call.server,
        durationMs,
        firstTokenMs,
      )
    eventOn(call, event)
    call.span.setAttributes(endAttributes(call, event))
    this.#close(call.span, code, call.time(event.at))
    // Attempts that ignore their abort end later.
    if (call.attempts.size === 0) this.#calls.delete(event.call)
  }

  #close(span: Span, code: string | undefined, time: number): void {
    if (code !== undefined) {
      span.setAttribute('error.type', code)
      span.setStatus({ code: this.#options.api.SpanStatusCode.ERROR, message: code })
    }
    span.end(time)
  }

  #joined({ call: id, layer, work, at }: EventOf<'joined'>): void {
    const call = this.#calls.get(id)
    if (call === undefined || call.hasEnded) return
    const other = work === undefined ? undefined : this.#calls.get(work)?.span.spanContext()
    const attributes = put(
      {},
      {
        'blossom.layer': layer,
        'blossom.joined.trace_id': other?.traceId,
        'blossom.joined.span_id': other?.spanId,
      },
    )
    call.span.addEvent('blossom.joined', attributes, call.time(at))
    if (other !== undefined) call.span.addLink({ context: other })
  }

  /**
   * The `traceparent` header. Other headers of the propagator are not sent, because baggage may
   * contain private data.
   * @see https://www.w3.org/TR/trace-context/#traceparent-header
   */
  #parentHeader(span: Span): readonly string[] {
    const { api } = this.#options
    const context = span.spanContext()
    if (!api.isSpanContextValid(context)) return []
    const { traceId, spanId, traceFlags } = context
    const flags = traceFlags.toString(16).padStart(2, '0')
    return ['traceparent', `00-${traceId}-${spanId}-${flags}`]
  }
}
