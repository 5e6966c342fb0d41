/**
 * A file of prompts to a file of answers: `node --import tsx examples/batch.ts prompts.jsonl
 * answers.jsonl`
 *
 * A line of the first is `{"prompt": "…"}`; whatever else it holds, such as an id, comes back
 * beside the answer. Without names it makes a file of 60 prompts to try. `--unordered` writes the
 * answers as they come; `--concurrency 5`, `--model openai` and `--max-tokens 100` are the others.
 *
 * Ctrl-C lets the calls in progress finish, and once more cuts them. The same command goes on from
 * there: what was answered is kept in `answers.jsonl.checkpoint` and not asked again, what failed
 * is. To begin anew, or with another model, delete that file.
 */
import { open, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createBlossom, isStackError, pool, queue, retry, timeout } from 'blossom-stack'
import type { BatchProgress } from 'blossom-stack/client'
import { startLocalBlossom } from 'blossom-stack/testing'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    unordered: { type: 'boolean', default: false },
    concurrency: { type: 'string', default: '5' },
    model: { type: 'string' },
    'max-tokens': { type: 'string', default: '100' },
  },
})
const [input = await samplePrompts(), output = join(tmpdir(), 'blossom-answers.jsonl')] =
  positionals
const concurrency = Number(flags.concurrency)

const apiKey = process.env.POLLINATIONS_API_KEY
let baseURL = process.env.BLOSSOM_BASE_URL
if (!apiKey && !baseURL) {
  console.error('No API key is set, so a local Blossom answers.')
  baseURL = (await startLocalBlossom({ latencyMs: 400 })).url
}

// Nobody waits for a single answer, so patience is cheap. No breaker: while it is open every prompt
// that comes up would fail at once.
const blossom = createBlossom({ apiKey, baseURL }).use(
  timeout({ ms: 15 * 60_000 }),
  retry({ retries: 5, maxDelayMs: 30_000, maxRetryAfterMs: 5 * 60_000, budget: false }),
  queue({ concurrency }),
  timeout({ name: 'attempt', ms: 2 * 60_000 }),
  pool({ connections: concurrency }),
)

/** Ends the bar. */
const lineEnd = process.stderr.isTTY ? '\n' : ''
let stopping = false
let interrupted = false
const cut = new AbortController()
process.on('SIGINT', () => {
  if (interrupted) cut.abort(new Error('Cut off.'))
  stopping = interrupted = true
  console.error(`${lineEnd}Stopping: the calls in progress may finish. Ctrl-C once more cuts them.`)
})

interface Line {
  prompt: string
  [field: string]: unknown
}
/** The lines whose outcome has not been written. */
const begun = new Map<number, Line>()

/** Reads on only as prompts are begun, so the file may be longer than the memory. */
async function* prompts(): AsyncGenerator<string> {
  let number = 0
  let index = 0
  for await (const text of readLines(input)) {
    if (stopping) return
    number++
    if (text.trim() === '') continue
    const line = parseLine(text, number)
    begun.set(index++, line)
    yield line.prompt
  }
}

function parseLine(text: string, number: number): Line {
  try {
    const line = JSON.parse(text) as Line
    if (typeof line.prompt === 'string') return line
  } catch {
    // Said below.
  }
  throw new Error(`${input}:${number}: a line must be a JSON object with a "prompt".`)
}

async function* readLines(path: string): AsyncGenerator<string> {
  const file = await open(path)
  yield* file.readLines()
}

let total = 0
for await (const text of readLines(input)) if (text.trim() !== '') total++

let tenth = -1
function show({ done, failed, elapsedMs }: BatchProgress): void {
  // What the checkpoint held is no measure of the pace: only what has gone through the queue is.
  const answered = blossom.stats().queue.completed + failed
  const perSecond = answered / (elapsedMs / 1_000)
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
let failed = 0
try {
  const outcomes = blossom.text.batch(prompts(), {
    concurrency,
    model: flags.model,
    maxTokens: Number(flags['max-tokens']),
    order: flags.unordered ? 'finished' : 'input',
    checkpoint: `${output}.checkpoint`,
    onProgress: show,
    signal: cut.signal,
  })
  for await (const outcome of outcomes) {
    const { index } = outcome
    const answer = outcome.ok
      ? { text: outcome.text, model: outcome.model, usage: outcome.usage }
      : { error: describeError(outcome.error) }
    await answers.appendFile(`${JSON.stringify({ ...begun.get(index), ...answer })}\n`)
    begun.delete(index)
    written++
    if (outcome.ok) continue
    failed++
    // A wrong key or an empty account would fail all the others as well.
    if (isStackError(outcome.error, 'AUTH') || isStackError(outcome.error, 'PAYMENT'))
      stopping = true
  }
} catch (error) {
  if (!cut.signal.aborted) throw error
} finally {
  await answers.close()
}
const more = written < total || failed > 0 ? ' The same command goes on from here.' : ''
console.error(`${lineEnd}${written} of ${total} in ${output}, ${failed} failed.${more}`)
process.exit(interrupted ? 130 : failed > 0 ? 1 : 0)

/** Messages of the stack's errors hold neither keys nor prompts. */
function describeError(error: unknown) {
  return isStackError(error)
    ? { code: error.code, message: error.message }
    : { code: 'UNKNOWN', message: String(error) }
}

async function samplePrompts(): Promise<string> {
  const path = join(tmpdir(), 'blossom-prompts.jsonl')
  const flowers = ['rose', 'tulip', 'lily', 'iris', 'poppy', 'daisy']
  const lines = Array.from({ length: 60 }, (_, id) =>
    JSON.stringify({ id, prompt: `Ten words on a ${flowers[id % 6]}, the ${id + 1}th time` }),
  )
  await writeFile(path, `${lines.join('\n')}\n`)
  return path
}
