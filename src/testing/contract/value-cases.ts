import assert from 'node:assert/strict'
import { type Context, isMap, isSignal, isStackError, now } from '../../core/index.js'
import { Caller, failure, mistake, type Run, timers, turn, until } from './trial.js'

const pending = (_: unknown, { signal }: Context) =>
  new Promise((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
  )

/** A promise, with the function that resolves it. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

export const valueCases: Record<string, Run> = {
  'passes a value through unchanged': async ({ around, values }) => {
    const answers = values()
    const trial = around((asked) => answers[trial.numberOf(asked)])
    for (const [n, expected] of values().entries())
      assert.deepStrictEqual(await trial.ask(n), expected)
  },

  'passes an error through unchanged': async ({ around }) => {
    const error = mistake()
    assert.equal(await failure(around(() => Promise.reject(error)).ask(1)), error)
  },

  'rejects when the base throws without a promise': async ({ around }) => {
    const error = mistake()
    const trial = around(() => {
      throw error
    })
    assert.equal(await failure(trial.ask(1)), error)
  },

  "passes the caller's abort inward and rejects with the caller's reason": async ({ around }) => {
    const trial = around(pending)
    const caller = new Caller()
    const failed = failure(trial.ask(1, { signal: caller.signal }))
    await trial.arrived(1)
    caller.leave()
    assert.equal(await failed, caller.reason)
    await until(() => trial.inside[0]!.signal.aborted, 'The abort never reached the base.')
  },

  'rejects at once when the caller aborts, even if the work ignores its signal': async ({
    around,
    answer,
  }) => {
    const { opened, open } = gate()
    const trial = around(async (asked) => {
      await opened
      return answer(asked)
    })
    const caller = new Caller({ code: 'LEFT' })
    const failed = failure(trial.ask(1, { signal: caller.signal }))
    await trial.arrived(1)
    caller.leave()
    assert.equal(await failed, caller.reason)
    open()
  },

  'rejects when the caller aborts before the work starts': async ({ around, request, answer }) => {
    const trial = around(answer)
    const caller = new Caller()
    const failed = failure(trial.ask(1, { signal: caller.signal }))
    caller.leave()
    assert.equal(await failed, caller.reason)
    assert.deepStrictEqual(await trial.ask(2), answer(request(2)))
  },

  'ends once when the answer is a value': async ({ around, answer }) => {
    const trial = around(answer)
    await trial.ask(1)
    await trial.over('complete')
  },

  'leaves no timer and no listener behind': async ({ around, answer }) => {
    const before = timers()
    const trial = around((asked, context) => {
      const n = trial.inside.length
      if (n % 3 === 1) return answer(asked)
      return n % 3 === 2 ? Promise.reject(mistake()) : pending(asked, context)
    })
    const caller = new Caller()
    const options = { signal: caller.signal, timeoutMs: 60_000 }
    await trial.ask(1, options)
    await trial.clean(before, caller.signal, 'A value')
    await failure(trial.ask(2, options))
    await trial.clean(before, caller.signal, 'A failure')
    const failed = failure(trial.ask(3, options))
    await trial.arrived(3)
    caller.leave()
    await failed
    await trial.clean(before, caller.signal, 'An abort')
  },

  "does not mix concurrent calls' answers": async ({ around, request, answer }) => {
    const trial = around(async (asked) => {
      for (let i = trial.numberOf(asked) % 4; i > 0; i--) await turn()
      return answer(asked)
    })
    const numbers = Array.from({ length: 12 }, (_, n) => n)
    const answers = await Promise.all(numbers.map((n) => trial.ask(n)))
    for (const n of numbers) assert.deepStrictEqual(answers[n], answer(request(n)))
  },

  'passes the context inward unchanged': async ({ around, answer }) => {
    const trial = around((asked, context) => {
      context.meta.set('contract', 'a note')
      return answer(asked)
    })
    const meta = new Map<string, unknown>()
    await trial.ask(1, { tenant: 'contract', priority: 3, meta })
    const [context] = trial.inside
    assert.ok(context !== undefined, 'The call never reached the base.')
    assert.equal(context.tenant, 'contract')
    assert.equal(context.priority, 3)
    assert.equal(context.cache, 'default')
    assert.ok(isSignal(context.signal))
    assert.ok(isMap(context.meta))
    const derived = context.derive({ priority: 4 })
    assert.equal(derived.priority, 4)
    assert.equal(derived.meta, context.meta)
    assert.equal(meta.get('contract'), 'a note', 'A note set by the base did not reach the caller.')
  },

  "passes no later deadline inward than the caller's": async ({ around, answer }) => {
    const trial = around(answer)
    const deadline = now() + 30_000
    await trial.ask(1, { deadline })
    assert.equal(trial.inside.length, 1)
    const late = trial.inside[0]!.deadline - deadline
    assert.ok(late <= 0, `The deadline moved by ${late} ms.`)
  },

  'returns stats that survive JSON': async ({ around, answer }) => {
    const trial = around(answer)
    await trial.ask(1)
    const stats = trial.stack.stats()
    assert.deepStrictEqual(JSON.parse(JSON.stringify(stats)), stats)
  },

  'can be closed twice and then rejects calls': async ({ around, answer }) => {
    const trial = around(answer)
    await trial.ask(1)
    await trial.stack.close()
    await trial.stack.close()
    assert.ok(isStackError(await failure(trial.ask(2)), 'CLOSED'))
    assert.equal(trial.inside.length, 1)
  },

  'answers a running call, or ends it with CLOSED, when the stack closes': async ({
    around,
    request,
    answer,
  }) => {
    const { opened, open } = gate()
    const trial = around(async (asked) => {
      await opened
      return answer(asked)
    })
    const call = trial.ask(1).catch((error: unknown) => ({ error }))
    const closed = trial.stack.close()
    open()
    const outcome = await call
    const refused = isStackError((outcome as { error?: unknown } | undefined)?.error, 'CLOSED')
    if (!refused) assert.deepStrictEqual(outcome, answer(request(1)))
    await closed
  },
}
