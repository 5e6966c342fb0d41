import { expect, it } from 'vitest'
import { apiOf } from './api.js'

// A change here is a change for users: look at the difference, then `npx vitest run --project unit
// test/house/api.test.ts -u`.
it('the public names and signatures are those of api.txt', async () => {
  const api = apiOf({
    'blossom-stack': 'src/index.ts',
    'blossom-stack/http': 'src/http/index.ts',
    'blossom-stack/testing': 'src/testing/index.ts',
  })
  await expect(api).toMatchFileSnapshot('api.txt')
})
