import { describe, expect, it } from 'vitest'
import { type Context, collect, fallback, stack, timeout } from '../../../../src/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { never } from '../../../support/gate.js'
import { type Ask, fails, fallingBack } from '../../../support/models.js'
import { breaking, numbers } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

const FIRST: Ask = { model: 'first' }

describe('fallback', () => {
  describe('a function as a candidate', () => {
    it('is given the request, the context and the previous error', async () => {
      let seen: unknown[] = []
      const { ask } = fallingBack({ first: fails() }, [
        (request, context, error) => {
          seen = [request, context.tenant, error]
          return 'value'
        },
      ])
      expect(await ask(FIRST, { tenant: 'a' })).toBe('value')
      expect(seen).toEqual([FIRST, 'a', expect.objectContaining({ code: 'SERVER' })])
      expect(ask.stats().fallback.byCandidate).toEqual({ candidate1: 1 })
    })

    it('may answer with a promise, a stream, or fail like any other', async () => {
      const down = new Error('down')
      const { ask } = fallingBack({ first: fails() }, [
        () => Promise.reject(down),
        () => breaking(0, down),
        () => numbers(2),
      ])
      expect(await collect((await ask(FIRST)) as AsyncIterable<number>)).toEqual([0, 1])
      const second = fallingBack({ first: fails() }, [async () => undefined])
      expect(await second.ask(FIRST)).toBeUndefined()
    })
  })

  describe('a stack as a candidate', () => {
    it('receives the request, the deadline, tenant, priority and cache mode', async () => {
      let seen: Context | undefined
      const other = stack(
        async (request: Ask, context: Context): Promise<unknown> => {
          seen = context
          return `other ${request.model}`
        },
        timeout({ ms: 5_000 }),
      )
      const { ask } = fallingBack({ first: fails() }, [other, { client: other }])
      const options = { tenant: 'a', priority: 3, cache: 'no-store', timeoutMs: 1_000 } as const
      const meta = new Map<string, unknown>()
      expect(await ask(FIRST, { ...options, meta })).toBe('other first')
      expect(seen).toMatchObject({ tenant: 'a', priority: 3, cache: 'no-store' })
      expect(seen!.deadline).toBe(performance.now() + 1_000)
      expect(meta.get('fallback')).toEqual({ candidate: 1, model: 'first' })
      await ask.close()
      expect(await other(FIRST)).toBe('other first')
    })

    it('is aborted with the call', async () => {
      let reason: unknown
      const other = stack((_: Ask, { cancel }: Context) => {
        cancel.onAbort((given) => {
          reason = given
        })
        return never()
      })
      const { ask } = fallingBack({ first: fails() }, [other])
      const caller = new AbortController()
      const call = watch(ask(FIRST, { signal: caller.signal }))
      await tick()
      caller.abort('left')
      await tick()
      expect([call.error, reason]).toEqual(['left', 'left'])
    })

    it('may be asked for another model', async () => {
      const other = stack(async (request: Ask): Promise<unknown> => request.model)
      const { ask } = fallingBack({ first: fails() }, [{ client: other, model: 'large' }])
      expect(await ask(FIRST)).toBe('large')
      expect(ask.stats().fallback.byCandidate).toEqual({ large: 1 })
    })

    it('is skipped for the next candidate when it is closed', async () => {
      const other = stack(async (_: Ask): Promise<unknown> => 'other')
      await other.close()
      const { ask } = fallingBack({ first: fails() }, [other, () => 'value'])
      expect(await ask(FIRST)).toBe('value')
    })

    it('may fall back through a function to the stack that falls back to it, without a loop', async () => {
      const asked: string[] = []
      const down = (name: string) => async (_: Ask) => {
        asked.push(name)
        throw upstreamError('SERVER')
      }
      const a = stack(down('a'), fallback({ to: [(request: Ask, context) => b(request, context)] }))
      const b: (request: Ask, context?: Context) => Promise<unknown> = stack(
        down('b'),
        fallback({ to: [a] }),
      )
      await failure(b(FIRST))
      expect(asked).toEqual(['b', 'a', 'b'])
    })
  })

  describe('a call with a key of its own', () => {
    it('goes only to other models of the same function', async () => {
      const other = stack(async (_: Ask): Promise<unknown> => 'other')
      const { ask, asked } = fallingBack({ first: fails('PAYMENT'), second: fails('PAYMENT') }, [
        other,
        () => 'value',
        { client: other, model: 'second' },
        'second',
      ])
      await failure(ask({ ...FIRST, own: true }))
      expect(asked).toEqual(['first', 'second'])
      expect(await ask(FIRST)).toBe('other')
    })
  })
})
