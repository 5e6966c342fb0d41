import { createHash } from 'node:crypto'
import type { RedisClient } from './client.js'

/** The reply of a script: nested lists of strings and numbers. */
export type ScriptReply = readonly (string | number | ScriptReply)[]

const digests = new Map<string, string>()

/** Runs a script by its digest, and sends its text only if Redis does not know it. */
export async function runScript<Reply = ScriptReply>(
  client: RedisClient,
  script: string,
  keys: string[],
  args: readonly (string | number)[],
): Promise<Reply> {
  let sha = digests.get(script)
  if (sha === undefined) {
    // Redis identifies scripts by their SHA-1 digest.
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
