import { isRecord, parseJson } from '../../core/index.js'
import { ChoiceProgress } from './choices.js'
import { eventKind } from './completion.js'
import { fromChunks } from './completion-from-chunks.js'
import { readEvents } from './sse.js'

/** The beginning of an event stream: a field of an event, or a comment. */
const BEGINNING = /^\s*(data|event|id|retry)?:/

/**
 * Assembles the complete answer from a stream of chat events, as some servers stream even if they
 * are asked not to. Returns an event that reports an error as it is, and `undefined` if the text is
 * no event stream or is incomplete.
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
