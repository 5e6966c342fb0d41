import { expect, it } from 'vitest'
import { entries } from '../support/entries.js'
import { apiOf } from './api.js'

// A change here is a change for users: look at the difference, then `npx vitest run --project unit
// test/architecture/api.test.ts -u`.
it('the public names and signatures are those of api.txt', async () => {
  await expect(apiOf(entries)).toMatchFileSnapshot('api.txt')
})
