import { context, metrics, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { base, type CallOptions, onEvent, stack } from 'blossom-stack'
import { instrument, prometheus } from 'blossom-stack/telemetry'
import type { Bench } from './bench.js'
import { type ChatRequest, chatRequest, DEADLINE_MS } from './contenders/contender.js'
import { EVENTS, OPEN_TELEMETRY, PROMETHEUS, UNHEARD } from './contenders/names.js'
import { fullStack } from './contenders/ours.js'
import { freshPrompt, microseconds } from './load.js'
import { type MakeSide, Processes } from './turns.js'

type Call = (request: ChatRequest, options: CallOptions) => Promise<unknown>

const answer = { model: 'openai', text: 'Hello' }
const usage = { input: 8, output: 64 }

/** The full stack around a function that knows as much of its work as the client does. */
const ask = () =>
  stack(
    base(async (_: ChatRequest) => answer, {
      operation: () => 'chat',
      model: ({ model }) => model,
      usage: () => usage,
      reports: () => ({ id: 'chatcmpl-1', model: 'openai', finishReason: 'stop' }),
      price: () => 0.001,
    }),
    ...(fullStack(16) as unknown as never[]),
  )

/** Never asked for what it has. */
class Reader extends MetricReader {
  protected async onForceFlush(): Promise<void> {}
  protected async onShutdown(): Promise<void> {}
}

/** The SDK as servers have it, but for the network: what it would send is dropped. */
function startSdk(): void {
  const exporter = {
    export: (_: unknown, done: (result: { code: number }) => void) => done({ code: 0 }),
    shutdown: async () => {},
  }
  const tracers = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] })
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  trace.setGlobalTracerProvider(tracers)
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [new Reader()] }))
}

const makers: Readonly<Record<string, () => Call>> = {
  [UNHEARD]: ask,
  [EVENTS]: () => {
    onEvent(() => {})
    return ask()
  },
  [PROMETHEUS]: () => {
    const watched = ask()
    prometheus(watched)
    return watched
  },
  [OPEN_TELEMETRY]: () => {
    startSdk()
    const watched = ask()
    instrument(watched)
    return watched
  },
}

/** Each call asks something new, so that it makes an attempt. */
const side = (make: () => Call): MakeSide<{ ms: number; warmUpMs: number }> => {
  return async ({ ms, warmUpMs }) => {
    const call = make()
    const one = () => call(chatRequest(freshPrompt()), { timeoutMs: DEADLINE_MS, tenant: 'gold' })
    if ((await one()) !== answer) throw new Error('It did not bring the answer.')
    return { warmUp: () => microseconds(warmUpMs, one), turn: () => microseconds(ms, one) }
  }
}

export const contenders = Object.fromEntries(
  Object.entries(makers).map(([name, make]) => [name, side(make)]),
)

/** What it costs a call that somebody watches it. */
export async function run(bench: Bench): Promise<void> {
  bench.progress('starting the contenders')
  const settings = { ms: bench.ms(300), warmUpMs: bench.ms(2_000) }
  const names = bench.names(makers, [UNHEARD, EVENTS, PROMETHEUS, OPEN_TELEMETRY])
  const processes = await Processes.start('telemetry', names, settings)
  const title = 'the full stack around a function that does nothing, and who listens'
  await bench.table('', title, 'µs', processes.turns(''), { warmUps: 2, rounds: 15 })
  await processes.close()
}
