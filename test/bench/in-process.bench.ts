import { breaker, cache, dedupe, pool, queue, retry, stack, timeout } from 'blossom-stack'
import { bytesPerCall, COUNTING } from './allocation.js'
import type { Bench } from './bench.js'
import { arounds } from './contenders/around.js'
import { chatRequest, DEADLINE_MS } from './contenders/contender.js'
import { BARE, BYTES, COCKATIEL, NOOP, OURS, STANDARD } from './contenders/names.js'
import { fullStack, standardStack } from './contenders/ours.js'
import { freshPrompt, microseconds } from './load.js'
import type { Sample } from './table.js'
import { type MakeSide, Processes } from './turns.js'

type Call = (request: object, signal?: AbortSignal) => Promise<unknown>

const answer = { text: 'Hello' }
const noop = async (_: unknown) => answer
const width = 16

const ask = (
  call: (request: object, options?: { signal: AbortSignal }) => Promise<unknown>,
): Call => {
  return (request, signal) => (signal ? call(request, { signal }) : call(request))
}
const withDeadline = (
  call: (request: object, options: { timeoutMs: number; signal?: AbortSignal }) => Promise<unknown>,
): Call => {
  return (request, signal) =>
    call(request, signal ? { timeoutMs: DEADLINE_MS, signal } : { timeoutMs: DEADLINE_MS })
}

const layers: Readonly<Record<string, () => Call>> = {
  [BARE]: () => ask(stack(noop)),
  cache: () => ask(stack(noop, cache())),
  dedupe: () => ask(stack(noop, dedupe())),
  timeout: () => ask(stack(noop, timeout({ ms: DEADLINE_MS }))),
  retry: () => ask(stack(noop, retry())),
  breaker: () => ask(stack(noop, breaker())),
  queue: () => ask(stack(noop, queue())),
  pool: () => ask(stack(noop, pool())),
}
const stacks: Readonly<Record<string, () => Call>> = {
  [NOOP]: () => noop,
  [OURS]: () => withDeadline(stack(noop, ...(fullStack(width) as unknown as never[]))),
  [STANDARD]: () => withDeadline(stack(noop, ...(standardStack(width) as unknown as never[]))),
  ...Object.fromEntries(
    Object.entries(arounds).map(([name, { ask }]) => [name, () => ask(noop, width)]),
  ),
}

/** Each call asks something new, as a chat request does. */
const side =
  (make: () => Call): MakeSide<{ ms: number; warmUpMs: number; calls: number }> =>
  async ({ ms, warmUpMs, calls }) => {
    const call = make()
    if ((await call(chatRequest(freshPrompt()))) !== answer)
      throw new Error('It did not bring the answer.')
    const plain = () => call(chatRequest(freshPrompt()))
    const signalled = () => call(chatRequest(freshPrompt()), new AbortController().signal)
    const bytes = async (one: typeof plain) => ({ value: await bytesPerCall(calls, one) })
    return {
      warmUp: (kind) =>
        kind.startsWith('bytes')
          ? Promise.resolve()
          : microseconds(warmUpMs, kind === 'time' ? plain : signalled),
      turn: (kind) => {
        if (kind === 'time') return microseconds(ms, plain)
        if (kind === 'time-signal') return microseconds(ms, signalled)
        return bytes(kind === 'bytes-signal' ? signalled : plain)
      },
    }
  }

export const contenders = Object.fromEntries(
  Object.entries({ ...layers, ...stacks }).map(([name, make]) => [name, side(make)]),
)

/** What the policies themselves cost, around a function that does nothing. */
export async function run(bench: Bench): Promise<void> {
  const settings = { ms: bench.ms(300), warmUpMs: bench.ms(1_500), calls: bench.count(3_000, 500) }
  for (const [part, title, names, kinds] of [
    [
      'layers',
      'one layer around a function that does nothing',
      bench.names(layers, [BARE, 'timeout']),
      [''],
    ],
    [
      '',
      'whole stacks around a function that does nothing, a deadline on every call',
      bench.names(stacks, [NOOP, OURS, COCKATIEL]),
      ['', '-signal'],
    ],
  ] as const) {
    bench.progress('starting the contenders')
    const timed = await Processes.start('in-process', names, settings)
    const counted = await Processes.start('in-process', names, settings, COUNTING)
    for (const kind of kinds) {
      const times = timed.turns(`time${kind}`)
      const bytes = counted.turns(`bytes${kind}`)
      const both = names.map((name) => [
        name,
        async () => {
          const time = (await times[name]?.()) as Sample
          const counted = (await bytes[name]?.()) as Sample
          return { value: time.value, more: { ...time.more, [BYTES]: counted.value } }
        },
      ])
      const end = kind === '' ? '' : ', and a fresh signal'
      await bench.table(
        `${part}${kind}`.replace(/^-/, ''),
        `${title}${end}`,
        'µs',
        Object.fromEntries(both),
        { warmUps: 2 },
      )
    }
    await timed.close()
    await counted.close()
  }
}
