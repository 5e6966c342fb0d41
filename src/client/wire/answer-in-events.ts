import { isRecord, parseJson } from '../../core/index.js'
import { ChoiceProgress } from './choices.js'
import { eventKind } from './completion.js'
import { fromChunks } from './completion-from-chunks.js'
import { readEvents } from './sse.js'

/** How an event stream may begin: with a field of an event, or with a comment. */
const BEGINNING = /^\s*(data|event|id|retry)?:/

/**
 * The whole answer that a stream of chat events amounts to, or the event that reports an error; some
 * servers stream whatever they are asked for. `undefined` when the text is no event stream, or when
 * something is missing.
 */
export function answerInEvents(text: string): unknown {
  if (!BEGINNING.test(text)) return undefined
  const events: unknown[] = []
  const onData = (data: string) => {
    const mark = data.trim()
    if (mark !== '' && mark !== '[DONE]') events.push(parseJson(data))
  }
  try {
    const read = readEvents({ onData, onTooLong: () => {} }, Number.POSITIVE_INFINITY)
    // The last event may lack its blank line.
    read(Buffer.from(`${text}\n\n`))
  } catch {
    return undefined
  }
  const error = events.find((event) => isRecord(event) && event.error)
  if (error !== undefined) return error
  const progress = new ChoiceProgress()
  const chunks = events.filter((event) => eventKind(event) === 'chunk')
  for (const chunk of chunks) progress.see(chunk)
  return progress.isWhole ? fromChunks(chunks) : undefined
}
