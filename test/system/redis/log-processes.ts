import type { RedisShared } from '../../../src/redis/index.js'
import type { LogProcesses } from '../../support/shared-logs-contract.js'

interface Opened {
  readonly client: { destroy(): void }
  readonly shared: RedisShared
  close(): Promise<void>
}

/** So many processes that have their logs in one Redis. */
export async function logProcesses(
  count: number,
  open: () => Promise<Opened>,
): Promise<LogProcesses> {
  const opened = await Promise.all(Array.from({ length: count }, open))
  return {
    of: opened.map(({ shared }) => shared.logs('streams')),
    // What it would have said, nobody hears.
    kill: (index) => opened[index]?.client.destroy(),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(opened.map(({ close }) => close()))
    },
  }
}
