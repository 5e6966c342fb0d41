import { type BlossomLayer, createBlossom, queue } from 'blossom-stack'
import type { Bench } from './bench.js'
import { byHand, cockatiel } from './contenders/around.js'
import { type ChatRequest, chatRequest } from './contenders/contender.js'
import { BY_HAND, OURS, PLAIN_LIMIT, REFUSAL, SHORT_LINE, UNTOLD } from './contenders/names.js'
import { fullStack } from './contenders/ours.js'
import { jsonBy, makePool, textOf } from './contenders/undici.js'
import { freshPrompt, perSecond, sleep } from './load.js'
import { median, type Sample } from './table.js'
import { type MakeSide, Processes } from './turns.js'
import { ANSWER } from './upstream-answers.js'
import { startUpstream } from './upstream-process.js'

/** What upstream can do: 16 calls at a time, 50 ms each in the middle. */
const SLOTS = 16
const SERVICE_MS = 50
/** What a caller is ready to wait. */
const PATIENCE_MS = 400

interface Settings {
  readonly origin: string
  readonly ms: number
}
type Ask = (prompt: string) => Promise<string>

const blossomOf =
  (layer: (concurrency: number) => BlossomLayer, slots: number) =>
  ({ origin }: Settings): Ask => {
    const [keep, share, time, repeat, trip, , pool] = fullStack(slots)
    const client = createBlossom({ baseURL: origin }).use(
      keep,
      share,
      time,
      repeat,
      trip,
      layer(slots),
      pool,
    )
    return async (prompt) =>
      textOf(await client.chat.create(chatRequest(prompt) as never, { timeoutMs: PATIENCE_MS }))
  }
const wide = (concurrency: number) => queue({ concurrency })

const overRaw = (
  around: (
    fn: (request: unknown, signal?: AbortSignal) => Promise<unknown>,
  ) => (request: unknown) => Promise<unknown>,
) => {
  return ({ origin }: Settings): Ask => {
    const json = jsonBy(makePool(origin, 4_096))
    const ask = around((request, signal) => json(request as ChatRequest, signal))
    return async (prompt) => textOf(await ask(chatRequest(prompt)))
  }
}
const makers: Readonly<Record<string, (settings: Settings) => Ask>> = {
  [PLAIN_LIMIT]: overRaw((fn) => (request) => fn(request, AbortSignal.timeout(PATIENCE_MS))),
  [BY_HAND]: overRaw((fn) => byHand.ask(fn, SLOTS, { deadlineMs: PATIENCE_MS })),
  'cockatiel, 1,000 may wait': overRaw((fn) =>
    cockatiel.ask(fn, SLOTS, { deadlineMs: PATIENCE_MS }),
  ),
  [SHORT_LINE]: overRaw((fn) =>
    cockatiel.ask(fn, SLOTS, { deadlineMs: PATIENCE_MS, maxWaiting: 64 }),
  ),
  [OURS]: blossomOf(wide, SLOTS),
  [UNTOLD]: blossomOf(wide, 4 * SLOTS),
}

const side =
  (make: (settings: Settings) => Ask): MakeSide<Settings> =>
  (settings) => {
    const ask = make(settings)
    return {
      async turn(kind) {
        const rate = Number(kind)
        if (!(rate > 0)) {
          if ((await ask(freshPrompt())) !== ANSWER) throw new Error('It did not bring the answer.')
          return perSecond(SLOTS, settings.ms, async () =>
            (await ask(freshPrompt())) === ANSWER ? 1 : 0,
          )
        }
        return offer(ask, rate, settings.ms)
      },
    }
  }
export const contenders = Object.fromEntries(
  Object.entries(makers).map(([name, make]) => [name, side(make)]),
)

/**
 * Offers `rate` calls a second, whatever becomes of them. What the first third brings is not
 * counted: lines are still empty then.
 */
async function offer(ask: Ask, rate: number, ms: number): Promise<Sample> {
  const start = performance.now()
  const countFrom = start + ms / 3
  const refusals: number[] = []
  const open = new Set<Promise<void>>()
  let good = 0
  let offered = 0
  const one = async (): Promise<void> => {
    const at = performance.now()
    try {
      if ((await ask(freshPrompt())) !== ANSWER) throw new Error('It did not bring the answer.')
      const now = performance.now()
      if (now >= countFrom && now < start + ms && now - at <= PATIENCE_MS) good++
    } catch {
      refusals.push(performance.now() - at)
    }
  }
  while (performance.now() < start + ms) {
    // As many as are due by now, in the order of their moments.
    for (const due = ((performance.now() - start) * rate) / 1_000; offered < due; offered++) {
      const call = one().finally(() => open.delete(call))
      open.add(call)
    }
    await sleep(1)
  }
  await Promise.all(open)
  return {
    value: good / ((ms * 2) / 3 / 1_000),
    more: { [REFUSAL]: refusals.length === 0 ? Number.NaN : median(refusals) },
  }
}

/** How much useful work gets through when more is asked for than upstream can do. */
export async function run(bench: Bench): Promise<void> {
  const ms = bench.quick ? 300 : 1_800
  const upstream = await startUpstream({ capacity: { slots: SLOTS, serviceMs: SERVICE_MS } })
  const settings = { origin: upstream.origin, ms }
  const ready = bench.names(contenders, [PLAIN_LIMIT, OURS])
  const processes = await Processes.start('overload', ready, settings)
  try {
    const measured = await processes.turns('capacity')[ready[0] as string]?.()
    const capacity = measured?.value ?? Number.NaN
    for (const load of [1, 2, 5]) {
      const turns = Object.entries(processes.turns(String(Math.round(capacity * load)))).map(
        ([name, turn]) => [
          name,
          async (): Promise<Sample> => {
            const { value, more = {} } = await turn()
            await sleep(bench.ms(300))
            return { value: value / capacity, more }
          },
        ],
      )
      const title = `useful answers as a share of capacity, ${load} × of it offered, callers wait ${PATIENCE_MS} ms`
      const rounds = { rounds: 2, warmUps: 0 }
      await bench.table(`${load}x`, title, 'goodput', Object.fromEntries(turns), rounds)
    }
    await processes.close()
  } finally {
    upstream.close()
  }
}
