import { AsyncLocalStorage } from 'node:async_hooks'
import { connect, createServer } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { Deadlines, type Expiring, NOT_WAITING, now } from '../../../../src/core/index.js'

class Entry implements Expiring {
  deadlineSlot = NOT_WAITING
  constructor(readonly expire: () => void) {}
}

/** Sets a deadline and resolves with what happened when it came. */
const expired = <T>(deadlines: Deadlines, ms: number, look: () => T): Promise<T> =>
  new Promise((resolve) => deadlines.set(new Entry(() => resolve(look())), now() + ms))

const block = (ms: number) => {
  const until = performance.now() + ms
  while (performance.now() < until);
}

describe('Deadlines in real time', () => {
  it('are never early', async () => {
    const deadlines = new Deadlines({ ref: true })
    const early = await Promise.all(
      Array.from({ length: 200 }, (_, i) => {
        const moment = now() + 1 + i / 7
        return expired(deadlines, 1 + i / 7, () => now() - moment)
      }),
    )
    expect(Math.min(...early)).toBeGreaterThanOrEqual(0)
  })

  it('let data that has arrived go first after the event loop was blocked', async () => {
    const server = createServer((socket) => socket.end('hello'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const log: string[] = []
    const socket = connect((server.address() as { port: number }).port, '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
    const deadlines = new Deadlines({ ref: true })
    const arrived = new Promise((resolve) =>
      socket.once('data', () => {
        log.push('data')
        resolve(undefined)
      }),
    )
    const late = expired(deadlines, 50, () => log.push('deadline'))
    await new Promise((resolve) => setTimeout(resolve, 5))
    block(200)
    await Promise.all([arrived, late])
    expect(log).toEqual(['data', 'deadline'])
    server.close()
  })

  it('do not run entries in the async context of whoever started the timer', async () => {
    const deadlines = new Deadlines({ ref: true })
    const store = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    await new Promise<void>((resolve) => {
      store.run('first', () =>
        deadlines.set(new Entry(() => seen.push(store.getStore())), now() + 2),
      )
      store.run('second', () =>
        deadlines.set(
          new Entry(() => {
            seen.push(store.getStore())
            resolve()
          }),
          now() + 2,
        ),
      )
    })
    expect(seen).toEqual([undefined, undefined])
  })

  it('keep no reference to cleared entries', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const deadlines = new Deadlines({ ref: false })
    const leave = () => {
      const entry = new Entry(() => {})
      deadlines.set(entry, now() + 300_000)
      deadlines.clear(entry)
      return new WeakRef(entry)
    }
    const stays = new Entry(() => {})
    deadlines.set(stays, now() + 300_000)
    const left = Array.from({ length: 10 }, leave)
    await new Promise((resolve) => setTimeout(resolve, 1))
    collect()
    expect(left.map((one) => one.deref())).toEqual(left.map(() => undefined))
    deadlines.clear(stays)
  })
})
