import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LocalBlossom } from 'blossom-stack/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { run, upstreamFor } from '../support/example-process.js'

describe('node --import tsx examples/batch.ts', () => {
  const COUNT = 40
  const range = Array.from({ length: COUNT }, (_, id) => id)
  const promptOf = (id: number) => `Prompt ${id}.`

  function startBatch(upstream: LocalBlossom, folder: string, ...flags: string[]) {
    const prompts = join(folder, 'prompts.jsonl')
    const answers = join(folder, 'answers.jsonl')
    writeFileSync(
      prompts,
      range.map((id) => `${JSON.stringify({ id, prompt: promptOf(id) })}\n`).join('\n'),
    )
    const args = [
      '--import',
      'tsx',
      'examples/batch.ts',
      prompts,
      answers,
      '--concurrency',
      '4',
      ...flags,
    ]
    const running = run(args, { POLLINATIONS_API_KEY: 'sk_test', BLOSSOM_BASE_URL: upstream.url })
    const read = () => {
      const lines = readFileSync(answers, 'utf8').trimEnd().split('\n')
      return lines.map(
        (line) =>
          JSON.parse(line) as {
            id: number
            prompt: string
            text?: string
            error?: { code: string }
          },
      )
    }
    return Object.assign(running, { read })
  }
  function makeFolder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'batch-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    return folder
  }

  it.each([[[]], [['--unordered']]])(
    'goes on after Ctrl-C and asks nothing twice, with %j',
    async (flags) => {
      // The second half is slow at first, so that Ctrl-C comes before the end, however late it is.
      let isSlow = true
      const latencyMs = ({ rawBody }: { rawBody: string }) =>
        isSlow && Number(/Prompt (\d+)/.exec(rawBody)?.[1]) >= COUNT / 2 ? 1_500 : 1
      const upstream = await upstreamFor({ latencyMs })
      const folder = makeFolder()
      const first = startBatch(upstream, folder, ...flags)
      await upstream.waitFor(({ requests }) => requests.length > COUNT / 2, 25_000)
      first.child.kill('SIGINT')
      expect([await first.exit, first.output]).toEqual([
        [130, null],
        expect.stringContaining('The same command goes on from here.'),
      ])
      const half = upstream.requests.length
      expect(half).toBeLessThan(COUNT)
      expect(first.read()).toHaveLength(half)

      isSlow = false
      const second = startBatch(upstream, folder, ...flags)
      expect([await second.exit, second.output]).toEqual([
        [0, null],
        expect.stringContaining(`${COUNT} of ${COUNT} in `),
      ])
      expect(second.output).toMatch(/^\d+ of 40, 0 failed, [\d.]+\/s, \d+:\d\d to go$/m)
      const answers = second.read()
      if (flags.length > 0) answers.sort((a, b) => a.id - b.id)
      expect(answers.map(({ id, prompt }) => [id, prompt])).toEqual(
        range.map((id) => [id, promptOf(id)]),
      )
      for (const { id, text } of answers) expect(text).toContain(promptOf(id))
      expect(upstream.requests.map(({ outcome }) => outcome)).toEqual(Array(COUNT).fill('complete'))
    },
  )

  it('cuts the calls in progress at a second Ctrl-C', async () => {
    const upstream = await upstreamFor()
    upstream.fault({ hang: true, times: 4 })
    const running = startBatch(upstream, makeFolder())
    await upstream.waitFor(({ active }) => active === 4, 25_000)
    running.child.kill('SIGINT')
    await expect.poll(() => running.output, { timeout: 10_000 }).toContain('Stopping')
    running.child.kill('SIGINT')
    expect(await running.exit).toEqual([130, null])
    await upstream.waitFor(({ active }) => active === 0)
  })

  it('shows each failure next to its prompt and retries only those', async () => {
    const upstream = await upstreamFor()
    const folder = makeFolder()
    upstream.fault({ status: 400, match: ({ rawBody }) => rawBody.includes('Prompt 7.') })
    const first = startBatch(upstream, folder)
    expect(await first.exit).toEqual([1, null])
    expect(first.read()[7]).toEqual({
      id: 7,
      prompt: promptOf(7),
      error: { code: 'BAD_REQUEST', message: expect.any(String) },
    })
    const second = startBatch(upstream, folder)
    expect(await second.exit).toEqual([0, null])
    expect(second.read()[7]?.text).toContain(promptOf(7))
    expect(upstream.requests).toHaveLength(COUNT + 1)
  })

  it('begins no more prompts once the key is refused', async () => {
    const upstream = await upstreamFor()
    // Slow enough for the first refusal to be heard before the last prompt is asked.
    upstream.fault({ status: 401, delayMs: 100, times: COUNT })
    const running = startBatch(upstream, makeFolder())
    expect(await running.exit).toEqual([1, null])
    expect(upstream.requests.length).toBeLessThan(COUNT)
    expect(running.read()[0]).toMatchObject({ id: 0, error: { code: 'AUTH' } })
  })
})
