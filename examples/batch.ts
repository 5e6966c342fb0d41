/**
 * Reads prompts from a file and writes the answers to another one:
 * `node --import tsx examples/batch.ts prompts.jsonl answers.jsonl`
 *
 * Each line of the input is `{"prompt": "…"}`. Other fields, such as an id, are copied to the
 * output. Without file names it creates 60 prompts to try. Options: `--unordered` (write answers as
 * they arrive), `--concurrency 5`, `--model openai`, `--max-tokens 100`.
 *
 * Ctrl-C lets running calls finish; a second Ctrl-C aborts them. Running the same command again
 * continues, even after `kill -9`: answers are stored in the folder `answers.jsonl.batch`, and only
 * failed and missing lines are sent again. To start over, or to use another model, delete that
 * folder.
 */
import { open, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createBlossom, isStackError, pool, queue, retry, timeout } from 'blossom-stack'
import { type BatchResult, createBatches } from 'blossom-stack/batches'
import { startLocalBlossom } from 'blossom-stack/testing'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    unordered: { type: 'boolean', default: false },
    concurrency: { type: 'string', default: '5' },
    model: { type: 'string', default: 'openai' },
    'max-tokens': { type: 'string', default: '100' },
  },
})
const [input = await samplePrompts(), output = join(tmpdir(), 'blossom-answers.jsonl')] =
  positionals
const directory = `${output}.batch`
const concurrency = Number(flags.concurrency)

const apiKey = process.env.POLLINATIONS_API_KEY
let baseURL = process.env.BLOSSOM_BASE_URL
if (!apiKey && !baseURL) {
  console.error('No API key is set, so a local Blossom answers.')
  baseURL = (await startLocalBlossom({ latencyMs: 400 })).url
}

// No user is waiting for an answer, so the time limits are generous.
const blossom = createBlossom({ apiKey, baseURL }).use(
  timeout({ ms: 15 * 60_000 }),
  retry({ retries: 5, maxDelayMs: 30_000, maxRetryAfterMs: 5 * 60_000, budget: false }),
  queue({ concurrency }),
  timeout({ name: 'attempt', ms: 2 * 60_000 }),
  pool({ connections: concurrency }),
)
const batches = createBatches(blossom, { directory, concurrency, expireMs: 30 * 24 * 3_600_000 })

/** Ends the line of the progress bar. */
const lineEnd = process.stderr.isTTY ? '\n' : ''
const worker = batches.worker()
const stopped = new AbortController()
let interrupted = false
process.on('SIGINT', () => {
  if (interrupted) return void cut()
  interrupted = true
  console.error(`${lineEnd}Stopping: the calls in progress may finish. Ctrl-C once more cuts them.`)
  void stop()
})

/** Starts no further calls, and stops waiting for results after the last running one. */
async function stop(): Promise<void> {
  await worker.close({ timeoutMs: 15 * 60_000 })
  stopped.abort()
}

async function cut(): Promise<void> {
  // The next run of the command sends the aborted calls again.
  await blossom.close({ timeoutMs: 0 })
  await stop()
}

interface Line {
  prompt: string
  [field: string]: unknown
}

/** Reads the lines of the file, without empty ones. The file may be larger than memory. */
async function* readLines(): AsyncGenerator<Line> {
  const file = await open(input)
  let number = 0
  for await (const text of file.readLines()) {
    number++
    if (text.trim() !== '') yield parseLine(text, number)
  }
}

function parseLine(text: string, number: number): Line {
  try {
    const line = JSON.parse(text) as Line
    if (typeof line.prompt === 'string') return line
  } catch {
    // The error is thrown below.
  }
  throw new Error(`${input}:${number}: a line must be a JSON object with a "prompt".`)
}

let total = 0
const nameOf = (run: number) => `run-${run}`
const bodyOf = ({ prompt }: Line) => ({
  model: flags.model,
  messages: [{ role: 'user', content: prompt }],
  max_tokens: Number(flags['max-tokens']),
})

/** The first batch has all lines; each further one has those that failed in the previous one. */
async function lastRun(): Promise<number> {
  async function* bodies() {
    for await (const line of readLines()) yield bodyOf(line)
  }
  await batches.create(bodies(), { id: nameOf(1) })
  total = (await batches.status(nameOf(1))).requestCounts.total
  for (let run = 1; ; run++) {
    const { status, requestCounts } = await batches.status(nameOf(run))
    if (status !== 'completed' || requestCounts.failed === 0) return run
    const failures = new Set<string>()
    for await (const { customId, ok } of batches.results(nameOf(run)))
      if (!ok) failures.add(customId)
    await batches.create(await bodiesOf(failures), {
      id: nameOf(run + 1),
      customIds: [...failures].sort((a, b) => Number(a) - Number(b)),
    })
  }
}

async function bodiesOf(customIds: ReadonlySet<string>) {
  const bodies: object[] = []
  let index = 0
  for await (const line of readLines())
    if (customIds.has(String(index++))) bodies.push(bodyOf(line))
  return bodies as ReturnType<typeof bodyOf>[]
}

/** Yields the last result of each line, until all have arrived or the work has been stopped. */
async function* outcomes(last: number): AsyncGenerator<BatchResult> {
  const seen = new Set<string>()
  async function* fresh(run: number, options: { wait?: boolean; signal?: AbortSignal }) {
    for await (const result of batches.results(nameOf(run), options)) {
      if (seen.has(result.customId) || (!result.ok && run < last)) continue
      seen.add(result.customId)
      yield result
    }
  }
  for (let run = 1; run < last; run++) yield* fresh(run, {})
  try {
    yield* fresh(last, { signal: stopped.signal })
  } catch (error) {
    if (!stopped.signal.aborted) throw error
    yield* fresh(last, { wait: false })
  }
}

/** Lines that have been read, but whose answers have not been written. */
const lines = new Map<number, Line>()
const reader = readLines()
let read = 0

/** Reads the file up to this line. Answers arrive roughly in the order of the lines. */
async function lineOf(index: number): Promise<Line | undefined> {
  for (; read <= index; read++) lines.set(read, (await reader.next()).value as Line)
  const line = lines.get(index)
  lines.delete(index)
  return line
}

const startedAt = performance.now()
let done = 0
let failed = 0
let tenth = -1
function show(): void {
  // Count only lines of this run, because earlier ones say nothing about the speed.
  const { completed, failed: ended } = batches.stats()
  const perSecond = (completed + ended) / ((performance.now() - startedAt) / 1_000)
  const left = Math.ceil((total - done) / perSecond)
  const eta = Number.isFinite(left)
    ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}`
    : '-:--'
  const facts = `${done} of ${total}, ${failed} failed, ${perSecond.toFixed(1)}/s, ${eta} to go`
  if (process.stderr.isTTY) {
    const filled = Math.round((30 * done) / total)
    process.stderr.write(`\r[${'█'.repeat(filled)}${'░'.repeat(30 - filled)}] ${facts}\x1b[K`)
  } else if (Math.floor((10 * done) / total) > tenth) {
    tenth = Math.floor((10 * done) / total)
    console.error(facts)
  }
}

const answers = await open(output, 'w')
let written = 0
async function write(result: BatchResult): Promise<void> {
  const line = await lineOf(Number(result.customId))
  await answers.appendFile(`${JSON.stringify({ ...line, ...answerOf(result) })}\n`)
  written++
}

function answerOf(result: BatchResult): object {
  // Error messages of the stack contain neither keys nor prompts.
  if (!result.ok) return { error: { code: result.error.code, message: result.error.message } }
  const { choices, model, usage } = result.answer as {
    choices: { message: { content: string } }[]
    model: string
    usage: object
  }
  return { text: choices[0]?.message.content ?? '', model, usage }
}

/** Results that arrived before those of earlier lines. */
const waiting = new Map<number, BatchResult>()
try {
  for await (const result of outcomes(await lastRun())) {
    done++
    if (!result.ok) {
      failed++
      // With a wrong key or an empty account, all other calls would fail as well.
      if (['AUTH', 'PAYMENT'].includes(result.error.code)) void stop()
    }
    show()
    if (flags.unordered) await write(result)
    else waiting.set(Number(result.customId), result)
    for (let next = waiting.get(written); next !== undefined; next = waiting.get(written)) {
      waiting.delete(written)
      await write(next)
    }
  }
} catch (error) {
  if (!isStackError(error, 'VALIDATION')) throw error
  console.error(
    `${input} or the model is another one than before: delete ${directory} to begin anew.`,
  )
  process.exit(1)
}
// Results after a line that was not sent.
for (const [, result] of [...waiting].sort(([a], [b]) => a - b)) await write(result)
await answers.close()
await batches.close()
const more = written < total || failed > 0 ? ' The same command goes on from here.' : ''
console.error(`${lineEnd}${written} of ${total} in ${output}, ${failed} failed.${more}`)
process.exit(interrupted ? 130 : failed > 0 ? 1 : 0)

async function samplePrompts(): Promise<string> {
  const path = join(tmpdir(), 'blossom-prompts.jsonl')
  const flowers = ['rose', 'tulip', 'lily', 'iris', 'poppy', 'daisy']
  const samples = Array.from({ length: 60 }, (_, id) =>
    JSON.stringify({ id, prompt: `Ten words on a ${flowers[id % 6]}, the ${id + 1}th time` }),
  )
  await writeFile(path, `${samples.join('\n')}\n`)
  return path
}
