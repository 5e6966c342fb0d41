import { describe, expect, it, vi } from 'vitest'
import { base, breaker, cache, dedupe, queue, rateLimit, stack } from '../../../src/index.js'
import { gate } from '../../support/gate.js'
import { sharedLogsContract } from '../../support/shared-logs-contract.js'
import { watch } from '../../support/watch.js'
import { logProcesses } from './log-processes.js'
import { sharedCluster } from './shared-cluster.js'

const cluster = sharedCluster()
const open = () => cluster.open()

async function join(asked: (request: string) => Promise<string>) {
  const { shared, close } = await open()
  const layer = cache({ shared })
  const limit = rateLimit({
    by: 'all',
    requests: { limit: 30, intervalMs: 24 * 3_600_000, burst: 30 },
    mode: 'reject',
    shared,
    exact: true,
  })
  const ask = stack(base(asked, { name: 'ask' }), layer, limit)
  return { ask, layer, shared, close }
}

it('shares a cache, what is forgotten in it, and a limit, over all servers of a cluster', async () => {
  const asked = vi.fn(async (request: string) => `answer to ${request}`)
  const [one, two] = [await join(asked), await join(asked)]
  // Both hear each other.
  await expect
    .poll(() => [one, two].map(({ shared }) => shared.stats().processes), { timeout: 20_000 })
    .toEqual([2, 2])
  const questions = Array.from({ length: 20 }, (_, i) => `question ${i}`)
  for (const question of questions) await one.ask(question)
  await expect
    .poll(async () => {
      await two.ask(questions.at(-1)!)
      return two.ask.stats().cache.hits
    })
    .toBeGreaterThan(0)
  const before = asked.mock.calls.length
  for (const question of questions) await two.ask(question)
  expect(asked).toHaveBeenCalledTimes(before)
  await one.layer.clear()
  await expect.poll(() => two.ask.stats().cache.entries).toBe(0)
  await two.ask(questions[0]!)
  expect(asked).toHaveBeenCalledTimes(before + 1)
  const others = Array.from({ length: 20 }, (_, i) => two.ask(`another ${i}`))
  const admitted = (await Promise.allSettled(others)).filter(({ status }) => status === 'fulfilled')
  expect(before + 1 + admitted.length).toBe(30)
  await Promise.all([one.close(), two.close()])
})

it('shares circuits and their trials', async () => {
  const opened = [await open(), await open()]
  const work = gate<string>()
  let ran = 0
  const layers = opened.map(({ shared }) =>
    breaker({ key: 'model', minimumCalls: 2, resetMs: 2_000, shared }),
  )
  const stacks = layers.map((layer) =>
    stack(
      base(
        async ({ fails }: { model: string; fails?: boolean }) => {
          ran++
          if (fails) throw new Error('the function failed')
          return work.promise
        },
        { model: ({ model }) => model },
      ),
      layer,
    ),
  )
  await expect
    .poll(() => opened.map(({ shared }) => shared.stats().processes), { timeout: 20_000 })
    .toEqual([2, 2])
  for (const model of ['a', 'b', 'c', 'd', 'e', 'f'])
    for (let i = 0; i < 2; i++) await stacks[0]!({ model, fails: true }).catch(() => {})
  for (const model of ['a', 'b', 'c', 'd', 'e', 'f'])
    await expect
      .poll(() => stacks[1]!({ model, fails: true }).catch(({ code }) => code))
      .toBe('BREAKER_OPEN')
  await expect
    .poll(() => layers.map((layer) => layer.state('a')), { timeout: 10_000 })
    .toEqual(['half-open', 'half-open'])
  const before = ran
  const calls = stacks.map((ask) => watch(ask({ model: 'a' })))
  await expect.poll(() => calls.map(({ state }) => state).sort()).toEqual(['pending', 'rejected'])
  await expect.poll(() => ran - before).toBe(1)
  work.open('done')
  await expect.poll(() => layers.map((layer) => layer.state('a'))).toEqual(['closed', 'closed'])
  for (const { close } of opened) await close()
})

it('shares the slots of a queue', async () => {
  const opened = [await open(), await open()]
  const works: (() => void)[] = []
  let running = 0
  let most = 0
  const stacks = opened.map(({ shared }) =>
    stack(
      async () => {
        most = Math.max(most, ++running)
        await new Promise<void>((resolve) => works.push(resolve))
        running--
      },
      queue({ concurrency: 3, shared }),
    ),
  )
  const calls = Array.from({ length: 20 }, (_, i) => watch(stacks[i % 2]!(undefined)))
  await expect
    .poll(
      () => {
        for (const end of works.splice(0)) end()
        return calls.filter(({ state }) => state === 'resolved').length
      },
      { timeout: 20_000, interval: 10 },
    )
    .toBe(20)
  expect(most).toBe(3)
  await expect.poll(() => opened[0]!.client.zCard('blossom:slots:{queue}')).toBe(0)
  for (const { close } of opened) await close()
})

it('makes one call for forty in four processes: values and streams', async () => {
  const opened = await Promise.all(Array.from({ length: 4 }, open))
  const begun: string[] = []
  async function* words(question: string) {
    for (let i = 0; i < 50; i++) {
      yield `${question} ${i}`
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  const stacks = opened.map(({ shared }) =>
    stack(
      base(
        async (question: string) => {
          begun.push(question)
          await new Promise((resolve) => setTimeout(resolve, 300))
          return question.includes('stream') ? words(question) : `answer to ${question}`
        },
        { name: 'ask', key: (question) => question },
      ),
      dedupe({ shared }),
    ),
  )
  const taken = async (answer: unknown) => {
    if (typeof answer === 'string') return answer
    const chunks: string[] = []
    for await (const chunk of answer as AsyncIterable<string>) chunks.push(chunk)
    return chunks.join()
  }
  // Several of each, so that they are on several servers.
  const questions = ['a', 'b', 'c', 'a stream', 'b stream', 'c stream']
  for (const question of questions) {
    const calls = Array.from({ length: 40 }, (_, i) => stacks[i % 4]!(question).then(taken))
    expect(new Set(await Promise.all(calls)).size).toBe(1)
  }
  expect(begun).toEqual(questions)
  for (const { close } of opened) await close()
})

describe('logs in a cluster', () => {
  sharedLogsContract((count) => logProcesses(count, open), { numRuns: 5 })
})
