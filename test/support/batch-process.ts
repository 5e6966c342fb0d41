/**
 * A process that works on a batch in a directory until it is done or killed: `batch-process.ts
 * directory lines`. It tells by messages which calls it makes and which results it has read.
 */
import { randomUUID } from 'node:crypto'
import { createBatches } from '../../src/batches/index.js'

/** What the process tells of itself. */
export type Told =
  | { readonly type: 'ready' }
  | { readonly type: 'call'; readonly n: number }
  | { readonly type: 'result'; readonly customId: string; readonly text: string }
  | { readonly type: 'done' }

const tell = (told: Told): Promise<void> =>
  new Promise((resolve) => process.send?.(told, () => resolve()))

async function main(directory: string, lines: number): Promise<void> {
  const blossom = {
    async request<Answer>({ body }: { body?: Readonly<Record<string, unknown>> | undefined }) {
      const n = body?.n as number
      void tell({ type: 'call', n })
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 40))
      if (n % 10 === 7) throw new Error('on purpose')
      return { n, nonce: randomUUID() } as Answer
    },
  }
  const batches = createBatches(blossom, { directory, concurrency: 8 })
  await batches.create(
    Array.from({ length: lines }, (_, n) => ({ n, filler: 'x'.repeat(n % 500) })),
    { id: 'killed' },
  )
  await tell({ type: 'ready' })
  batches.worker()
  for await (const result of batches.results('killed')) {
    const { customId } = result
    await tell({ type: 'result', customId, text: JSON.stringify(result) })
  }
  await batches.close()
  await tell({ type: 'done' })
  process.disconnect()
}

const [directory, lines] = process.argv.slice(2)
if (process.send !== undefined && directory !== undefined) void main(directory, Number(lines))
