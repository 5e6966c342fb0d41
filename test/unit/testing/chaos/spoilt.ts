import { stack } from '../../../../src/index.js'
import { type ChaosOptions, chaos, chunkSource } from '../../../../src/testing/index.js'

/** Calls whose answers are values, spoilt by chaos. */
export const values = (options: ChaosOptions) => stack(async (n: number) => n, chaos(options))

/** The same whose answers are streams, with the layer and the source behind them. */
export const streams = (
  options: ChaosOptions,
  chunks: readonly string[] = ['a', 'b', 'c', 'd'],
) => {
  const source = chunkSource(chunks)
  const layer = chaos(options)
  return { source, layer, ask: stack((_: number) => source, layer) }
}

/** What a stream gives, and what it ends with. */
export async function readAll(
  stream: AsyncIterable<unknown>,
): Promise<{ chunks: unknown[]; error?: unknown }> {
  const chunks: unknown[] = []
  try {
    for await (const chunk of stream) chunks.push(chunk)
  } catch (error) {
    return { chunks, error }
  }
  return { chunks }
}
