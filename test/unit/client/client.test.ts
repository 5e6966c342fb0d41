import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Agent } from 'undici'
import { describe, expect, it } from 'vitest'
import {
  ClosedError,
  ConfigError,
  cache,
  createBlossom,
  queue,
  retry,
  standard,
  timeout,
} from '../../../src/index.js'
import { keyedUpstream } from '../../support/keyed-upstream.js'
import { KEY } from '../../support/secrets.js'
import { textOf } from '../../support/text-streams.js'
import { failure, watch } from '../../support/watch.js'

describe('createBlossom', () => {
  const site = keyedUpstream()
  const { client } = site

  describe('use', () => {
    it('puts later layers further out and keeps their names in the order they are added', () => {
      const blossom = client()
        .use(retry(), timeout({ ms: 5_000 }))
        .use(cache(), timeout({ ms: 9_000 }))
      expect(blossom.describe().map(({ name }) => name)).toEqual([
        'cache',
        'timeout2',
        'retry',
        'timeout',
      ])
      expect(Object.keys(blossom.stats())).toEqual(['cache', 'timeout2', 'retry', 'timeout'])
    })

    it('is the same as the option `layers`', () => {
      const blossom = createBlossom({ layers: [retry(), queue()] })
      expect(blossom.describe().map(({ name }) => name)).toEqual(['retry', 'queue'])
      expect(blossom.stats().queue.concurrency).toBe(5)
    })

    it.each(['a call', 'stats()', 'describe()', 'close()'])(
      'throws CONFIG after %s',
      async (what) => {
        const blossom = client()
        if (what === 'a call') await blossom.models.list()
        if (what === 'stats()') blossom.stats()
        if (what === 'describe()') blossom.describe()
        if (what === 'close()') await blossom.close()
        expect(() => blossom.use(retry())).toThrow(ConfigError)
      },
    )

    it('stays available after a call that is refused before it starts', async () => {
      const blossom = client()
      await failure(blossom.text.generate(''))
      expect(() => blossom.use(retry())).not.toThrow()
    })

    it('refuses a value that is not a layer, and explains how to pass a list', () => {
      for (const wrong of [undefined, 'retry', {}, standard()]) {
        expect(() => createBlossom().use(wrong as never)).toThrow(
          expect.objectContaining({
            code: 'CONFIG',
            message: expect.stringContaining('use(...standard())'),
          }),
        )
      }
    })
  })

  describe('close', () => {
    it('returns the same promise twice, and later calls fail with CLOSED', async () => {
      const blossom = client()
      await blossom.text.generate('Hello')
      const closing = blossom.close()
      expect(blossom.close()).toBe(closing)
      await closing
      const error = await failure(blossom.text.generate('Hello'))
      expect(error).toBeInstanceOf(ClosedError)
      expect(error).toMatchObject({ code: 'CLOSED', refused: true })
      expect(await failure(blossom.text.stream('Hello'))).toBeInstanceOf(ClosedError)
      expect(site.upstream.requests).toHaveLength(1)
    })

    it('lets a running call finish', async () => {
      const blossom = client()
      site.upstream.fault({ delayMs: 40, path: '/v1/chat' })
      const running = blossom.text.generate('Hello')
      await site.upstream.waitFor(({ requests }) => requests.length === 1)
      const closing = watch(blossom.close())
      await expect(running).resolves.toMatchObject({ attempts: 1 })
      await blossom.close()
      expect(closing.state).toBe('resolved')
    })

    it('cuts off the remaining calls and streams at its time-out', async () => {
      const blossom = client()
      site.upstream.faults.push({ stallAfterChunks: 1 }, { hang: true })
      const stream = await blossom.text.stream('Hello')
      const hanging = watch(blossom.text.generate('Hello'))
      await site.upstream.waitFor(({ active }) => active === 2)
      await blossom.close({ timeoutMs: 10 })
      expect(hanging.error).toMatchObject({ code: 'CLOSED', refused: false })
      await expect(textOf(stream)).rejects.toMatchObject({ code: 'CLOSED' })
      await site.upstream.waitFor(({ active }) => active === 0)
    })

    it('rejects wrong options and stays open', async () => {
      const blossom = client()
      for (const timeoutMs of [-1, Number.NaN, '5' as never]) {
        expect(await failure(blossom.close({ timeoutMs }))).toBeInstanceOf(ConfigError)
      }
      await expect(blossom.models.list()).resolves.toBeInstanceOf(Array)
    })

    it('runs through `await using`', async () => {
      let kept: ReturnType<typeof client>
      {
        await using blossom = client()
        kept = blossom
        await blossom.models.list()
      }
      expect(await failure(kept.models.list())).toBeInstanceOf(ClosedError)
    })

    it('leaves the caller’s own dispatcher open', async () => {
      const dispatcher = new Agent()
      const first = createBlossom({ baseURL: site.upstream.url, apiKey: KEY, dispatcher })
      await first.models.list()
      await first.close()
      await expect(
        createBlossom({ baseURL: site.upstream.url, dispatcher }).models.list(),
      ).resolves.toBeInstanceOf(Array)
      expect([dispatcher.closed, dispatcher.destroyed]).toEqual([false, false])
      await dispatcher.close()
    })

    it('does not keep the process alive', async () => {
      const script = `
        import { createBlossom, standard } from './src/index.ts'
        const blossom = createBlossom({ baseURL: '${site.upstream.url}', apiKey: '${KEY}' }).use(...standard())
        await blossom.text.generate('Hello')
        for await (const piece of await blossom.text.stream('Hello')) break
        const stream = await blossom.text.stream('Hello again')
        await blossom.close({ timeoutMs: 20 })
        console.log('closed', process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCP') || kind === 'Timeout').length)
      `
      const began = performance.now()
      const { stdout, stderr } = await promisify(execFile)(
        process.execPath,
        ['--import', 'tsx', '--input-type=module', '-e', script],
        {
          timeout: 20_000,
        },
      )
      expect({ stdout: stdout.trim(), stderr: stderr.trim() }).toEqual({
        stdout: 'closed 0',
        stderr: '',
      })
      expect(performance.now() - began).toBeLessThan(15_000)
    }, 30_000)
  })
})
