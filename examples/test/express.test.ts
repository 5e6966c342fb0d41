/**
 * Tests of an Express app with the testing kit. Copy them together with suite.ts and failures.ts,
 * and insert your own app. They need no network and no key.
 */
import { createApp } from '../express.js'
import { behind, testApp } from './suite.js'

testApp('the Express app', (blossom, gateway) =>
  behind(createApp(blossom, gateway).listen(0, '127.0.0.1')),
)
