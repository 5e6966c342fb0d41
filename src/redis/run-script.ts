import { createHash } from 'node:crypto'
import type { RedisClient } from './client.js'

const digests = new Map<string, string>()

/** Runs a script that Redis may know already. */
export async function runScript<Reply>(
  client: RedisClient,
  script: string,
  keys: string[],
  args: string[],
): Promise<Reply> {
  let sha = digests.get(script)
  if (sha === undefined) {
    // Redis knows scripts by this digest.
    sha = createHash('sha1').update(script).digest('hex')
    digests.set(script, sha)
  }
  const options = { keys, arguments: args }
  try {
    return (await client.evalSha(sha, options)) as Reply
  } catch (error) {
    if (!(error as Error).message.startsWith('NOSCRIPT')) throw error
    return (await client.eval(script, options)) as Reply
  }
}
