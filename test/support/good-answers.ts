import type { Seen } from './bare-server.js'
import type { Line } from './fault-upstream.js'
import { PROMPT } from './secrets.js'
import { turn } from './watch.js'
import { answer, chunk, completion, DONE, event } from './wire.js'

/** The prompt of the call with this mark: a secret, and the mark. */
export const promptOf = (token: string): string => `${PROMPT} (${token})`

/** The mark in a request's prompt, wherever the prompt is. */
export function tokenOf({ path, body }: Pick<Seen, 'path' | 'body'>): string {
  const asked = path.startsWith('/image/') ? decodeURIComponent(path.replace(/\?.*/, '')) : body
  return /\((t[\w.]+)\)/.exec(asked)?.[1] ?? ''
}

/** What is answered to the call with this mark. */
export const goodText = (token: string): string => `An echo of ${token}: all is well.`

/** A chat completion for a request. */
export const goodCompletion = ({ token }: { token: string }): string =>
  JSON.stringify(completion(goodText(token)))

/**
 * The events of a stream for a request: the role, a chunk for each word, the finish reason, and
 * `[DONE]`.
 */
export function goodEvents({ token }: { token: string }): string[] {
  const words = goodText(token).split(/(?<= )/)
  return [
    event(chunk({ role: 'assistant' })),
    ...words.map((content) => event(chunk({ content }))),
    event(
      chunk({}, 'stop', { usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } }),
    ),
    DONE,
  ]
}

/** A proper answer of the form that the request asks for, over a connection that stays. */
export function goodBytes({
  token,
  path,
  body,
}: { token: string } & Pick<Seen, 'path' | 'body'>): string {
  if (path.startsWith('/image/'))
    return answer('200 OK', goodText(token), 'content-type: image/png')
  if (body.includes('"stream":true'))
    return answer('200 OK', goodEvents({ token }).join(''), 'content-type: text/event-stream')
  if (path === '/v1/embeddings') {
    const data = [
      { index: 0, embedding: [...goodText(token)].map((letter) => letter.charCodeAt(0)) },
    ]
    return answer(
      '200 OK',
      JSON.stringify({ object: 'list', data, model: 'm' }),
      'content-type: application/json',
    )
  }
  return answer('200 OK', goodCompletion({ token }), 'content-type: application/json')
}

/** Answers properly, some turns later, so that what runs at once can be seen. */
export async function goodAnswer(line: Line): Promise<void> {
  for (let i = 0; i < 3; i++) await turn()
  await line.send(goodBytes(line.request))
  line.answered()
}
