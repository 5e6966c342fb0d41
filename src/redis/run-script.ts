import { createHash } from 'node:crypto'
import type { RedisClient } from './client.js'

/** What a script returns: lists of texts and numbers, one in another. */
export type ScriptReply = readonly (string | number | ScriptReply)[]

const digests = new Map<string, string>()

/** Runs a script that Redis may know already. */
export async function runScript<Reply = ScriptReply>(
  client: RedisClient,
  script: string,
  keys: string[],
  args: readonly (string | number)[],
): Promise<Reply> {
  let sha = digests.get(script)
  if (sha === undefined) {
    // Redis knows scripts by this digest.
    sha = createHash('sha1').update(script).digest('hex')
    digests.set(script, sha)
  }
  const options = { keys, arguments: args.map(String) }
  try {
    return (await client.evalSha(sha, options)) as Reply
  } catch (error) {
    if (!(error as Error).message.startsWith('NOSCRIPT')) throw error
    return (await client.eval(script, options)) as Reply
  }
}
