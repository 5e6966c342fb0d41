import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../../src/client/client.js'
import { collect } from '../../../../src/core/index.js'
import { pool } from '../../../../src/layers/pool/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { startLocalBlossom } from '../../../../src/testing/local-blossom/index.js'
import { failure, watch } from '../../../support/watch.js'

describe('pool', () => {
  describe('over real connections', () => {
    let sockets = 0
    const connected = () => {
      sockets++
    }

    beforeEach(() => {
      sockets = 0
      subscribe('undici:client:connected', connected)
    })

    afterEach(() => {
      unsubscribe('undici:client:connected', connected)
    })

    it('opens no more sockets than connections, and uses them again', async () => {
      await using upstream = await startLocalBlossom({ latencyMs: 5 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 2 }),
      )
      await Promise.all(Array.from({ length: 12 }, (_, i) => blossom.text.generate(`prompt ${i}`)))
      for (let i = 0; i < 5; i++) await blossom.text.generate(`later ${i}`)
      expect(upstream.requests).toHaveLength(17)
      expect(upstream.maxActive).toBeLessThanOrEqual(2)
      expect(sockets).toBeLessThanOrEqual(2)
    })

    it('uses the connection again after a stream that was read to its end', async () => {
      await using upstream = await startLocalBlossom({ words: 5 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 1 }),
      )
      for (let i = 0; i < 3; i++) await collect(await blossom.text.stream(`prompt ${i}`))
      expect(sockets).toBe(1)
    })

    it('is not pinned by a stream whose reader leaves', async () => {
      await using upstream = await startLocalBlossom({ words: 5_000, chunkDelayMs: 1 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 1 }),
      )
      for (let i = 0; i < 3; i++) {
        for await (const _ of await blossom.text.stream(`prompt ${i}`)) break
        await upstream.waitFor(() => upstream.requests[i]!.outcome === 'aborted')
      }
      expect(blossom.stats().pool).toMatchObject({ active: 0, available: 1 })
    })

    it('is not pinned by a stream that nobody reads and whose caller aborts', async () => {
      await using upstream = await startLocalBlossom({ words: 5_000, chunkDelayMs: 1 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 1 }),
      )
      const caller = new AbortController()
      await blossom.text.stream('unread', { signal: caller.signal })
      const next = watch(blossom.text.generate('next', { maxTokens: 5 }))
      expect(blossom.stats().pool.waiting).toBe(1)
      caller.abort()
      await upstream.waitFor(() => upstream.requests[1]?.outcome === 'complete')
      await vi.waitFor(() => expect(next.state).toBe('resolved'))
    })

    it("is not pinned by a failed answer's body", async () => {
      await using upstream = await startLocalBlossom()
      upstream.faults.push({ status: 500, bigBody: 8 * 1024 * 1024, times: 3 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 1 }),
      )
      for (let i = 0; i < 3; i++)
        expect(await failure(blossom.text.generate(`prompt ${i}`))).toMatchObject({
          code: 'SERVER',
        })
      expect((await blossom.text.generate('well again')).text).not.toBe('')
    })

    it("sends each member's key to its own address, and the client's key to neither", async () => {
      await using one = await startLocalBlossom()
      await using other = await startLocalBlossom()
      await using blossom = createBlossom({ apiKey: 'sk_client', baseURL: one.url }).use(
        pool({
          members: [
            { apiKey: 'sk_one', baseURL: one.url },
            { apiKey: 'sk_other', baseURL: other.url },
          ],
        }),
      )
      await Promise.all(Array.from({ length: 6 }, (_, i) => blossom.text.generate(`prompt ${i}`)))
      const sha = (key: string) => createHash('sha256').update(key).digest('hex')
      expect(one.requests.map(({ keySha256 }) => keySha256)).toEqual([
        sha('sk_one'),
        sha('sk_one'),
        sha('sk_one'),
      ])
      expect(other.requests.map(({ keySha256 }) => keySha256)).toEqual([
        sha('sk_other'),
        sha('sk_other'),
        sha('sk_other'),
      ])
    })

    it('answers through another member when one is down', async () => {
      await using well = await startLocalBlossom()
      const dead = await startLocalBlossom()
      await dead.close()
      await using blossom = createBlossom({ apiKey: 'sk_client' }).use(
        retry({ minDelayMs: 0 }),
        pool({ members: [{ baseURL: dead.url }, { baseURL: well.url }] }),
      )
      for (let i = 0; i < 8; i++)
        expect((await blossom.text.generate(`prompt ${i}`)).text).not.toBe('')
      expect(well.requests).toHaveLength(8)
    })

    it('closes its sockets with the client', async () => {
      await using upstream = await startLocalBlossom()
      const blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        pool({ connections: 2 }),
      )
      await blossom.text.generate('prompt')
      const before = process
        .getActiveResourcesInfo()
        .filter((kind) => kind === 'TCPSocketWrap').length
      await blossom.close()
      await vi.waitFor(() => {
        expect(
          process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length,
        ).toBeLessThan(before)
      })
    })
  })
})
