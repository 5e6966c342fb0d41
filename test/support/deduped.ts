import { type Context, onEnd, type StreamEnd, stack } from '../../src/core/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { type Driven, driven } from './streams.js'

/** A deduped base whose streams the test drives, one for each time it is called. */
export function dedupedStream() {
  const sources: Driven<unknown>[] = []
  const contexts: Context[] = []
  const ends: StreamEnd[] = []
  const ask = stack(async (_: string, context: Context) => {
    const source = driven<unknown>({ committed: true, cancel: context.cancel })
    sources.push(source)
    contexts.push(context)
    return onEnd(source.stream, (end) => ends.push(end))
  }, dedupe())
  return { ask, sources, contexts, ends }
}
