import { getHeapStatistics } from 'node:v8'

/**
 * For a process in which bytes are counted: everything new fits into the young generation, so that
 * nothing is collected in between.
 */
export const COUNTING = ['--expose-gc', '--min-semi-space-size=256', '--max-semi-space-size=256']

/**
 * Bytes of heap that one call allocates, whether they are kept or not. Needs a process started with
 * `COUNTING`.
 */
export async function bytesPerCall(
  calls: number,
  call: (i: number) => Promise<unknown>,
): Promise<number> {
  if (globalThis.gc === undefined) throw new Error('Start the process with the flags of COUNTING.')
  // Compiled code allocates less.
  for (let i = 0; i < 2 * calls; i++) await call(i)
  globalThis.gc()
  const before = getHeapStatistics().used_heap_size
  for (let i = 0; i < calls; i++) await call(2 * calls + i)
  return (getHeapStatistics().used_heap_size - before) / calls
}
