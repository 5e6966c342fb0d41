/**
 * Tests of a Hono app with the testing kit. Copy them together with suite.ts and failures.ts,
 * and insert your own app. They need no network and no key.
 */
import { createApp } from '../hono.js'
import { testApp } from './suite.js'

testApp('the Hono app', async (blossom, gateway) => {
  const app = createApp(blossom, gateway)
  // Hono needs no server to be called.
  return { request: (path, init) => app.request(path, init), close: () => {} }
})
