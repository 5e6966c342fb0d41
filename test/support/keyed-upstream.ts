import { afterEach, beforeEach } from 'vitest'
import { createBlossom } from '../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../src/testing/index.js'
import { KEY } from './secrets.js'

/** An upstream of its own for each test, which takes no key but the tests' own, and its clients. */
export function keyedUpstream() {
  let upstream: LocalBlossom
  beforeEach(async () => {
    upstream = await startLocalBlossom({ keys: [KEY] })
  })
  afterEach(() => upstream.close())
  return {
    get upstream() {
      return upstream
    },
    client: () => createBlossom({ baseURL: upstream.url, apiKey: KEY }),
  }
}
