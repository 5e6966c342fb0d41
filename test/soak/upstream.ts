/**
 * The upstream of the soak, in a process of its own: answers in a few milliseconds, and meets one
 * request in eight with a fault.
 */
import { type Fault, type LocalBlossomRequest, startLocalBlossom } from '../../src/testing/index.js'
import { answerTo } from './expected.js'

const CHAT = '/v1/chat'
const FAULTS: readonly Fault[] = [
  { status: 503 },
  { status: 500 },
  { status: 429, retryAfterMs: 20 },
  { json: 'truncated' },
  { json: 'html' },
  { resetBeforeHeaders: true },
  { cutAfterChunks: 2, cutWith: 'rst' },
  { cutAfterChunks: 1, cutWith: 'fin' },
  // Half a picture that ends in due form cannot be told from a whole one.
  { endAfterChunks: 2, path: CHAT },
  { errorAfterChunks: 2, path: CHAT },
  { stallAfterChunks: 2, heartbeatMs: 50 },
  { openAfterDone: true, ghostChunks: 2 },
  { splitBytes: 11 },
]
/**
 * Which requests meet the first fault, which the second and so on: each is met by one in so many.
 */
const ONE_IN = 104

const promptOf = ({ body }: LocalBlossomRequest) =>
  (body as { messages?: { content?: string }[] } | undefined)?.messages?.at(-1)?.content

const upstream = await startLocalBlossom({
  coalesce: false,
  latencyMs: ({ id }) => id % 9,
  chunkDelayMs: ({ id }) => (id % 5 === 0 ? 2 : 0),
  wordsPerChunk: 2,
  reply: (request) => {
    const prompt = promptOf(request)
    return prompt === undefined ? undefined : answerTo(prompt)
  },
})
upstream.faults.push(
  ...FAULTS.map((fault, i) => ({
    ...fault,
    times: Number.POSITIVE_INFINITY,
    match: ({ id }: LocalBlossomRequest) => id % ONE_IN === i * 8,
  })),
)
process.on('message', () =>
  process.send?.({ active: upstream.active, generations: upstream.generations }),
)
process.on('disconnect', () => process.exit(0))
process.send?.({ url: upstream.url })
