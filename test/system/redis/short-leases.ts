import { randomUUID } from 'node:crypto'
import type { SharedState } from '../../../src/core/index.js'
import { Connection } from '../../../src/redis/connection.js'
import { Messages } from '../../../src/redis/messages.js'
import { RedisSlots } from '../../../src/redis/slots.js'
import { onlyShared } from '../../support/only-shared.js'

/** Shared slots whose leases end soon. */
export function shortLeases(url: string, leaseMs: number): SharedState & { close(): void } {
  const connection = new Connection({ url, client: undefined, timeoutMs: 2_000 })
  const messages = new Messages(connection, 'blossom:messages', randomUUID())
  return onlyShared({
    slots: (name) => new RedisSlots(connection, messages, 'blossom', name, leaseMs),
    close() {
      messages.close()
      connection.close()
    },
  })
}
