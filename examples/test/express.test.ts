/**
 * Tests of an Express app with the testing kit: copy them together with suite.ts and failures.ts,
 * and put your own app in.
 */
import { createApp } from '../express.js'
import { behind, testApp } from './suite.js'

testApp('the Express app', (blossom, gateway) =>
  behind(createApp(blossom, gateway).listen(0, '127.0.0.1')),
)
