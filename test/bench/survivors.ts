/**
 * Prints how many bytes a call leaves in the old generation although it has been answered and
 * nothing keeps the answer. Needs `--expose-gc`.
 */
import { getHeapSpaceStatistics } from 'node:v8'
import { dedupe, stack } from 'blossom-stack'
import { chatRequest, DEADLINE_MS } from './contenders/contender.js'
import { freshPrompt } from './load.js'

const CALLS = 10_000
const WIDTH = 16

const ask = stack(
  (_: object) =>
    new Promise<object>((resolve) => setImmediate(() => resolve({ list: [{ text: 'Hello' }] }))),
  dedupe(),
)

async function run(calls: number): Promise<void> {
  let left = calls
  const worker = async () => {
    while (left-- > 0) await ask(chatRequest(freshPrompt()), { timeoutMs: DEADLINE_MS })
  }
  await Promise.all(Array.from({ length: WIDTH }, worker))
}

const old = () =>
  getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ??
  Number.NaN

// Until everything is compiled and the tables have their size.
await run(3 * CALLS)
globalThis.gc?.()
await run(CALLS / 5)
const before = old()
await run(CALLS)
process.stdout.write(String((old() - before) / CALLS))
process.exit(0)
