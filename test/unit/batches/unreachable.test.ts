import { expect, it } from 'vitest'
import { createBatches } from '../../../src/batches/index.js'
import { collect, createBlossom } from '../../../src/index.js'
import { numbered } from '../../support/batches-contract.js'

it('a line that reached no upstream does not name the host, which tenants must not see', async () => {
  const blossom = createBlossom({ baseURL: 'http://127.0.0.1:1' })
  const batches = createBatches(blossom)
  const worker = batches.worker()
  const { id } = await batches.create(numbered(1))
  expect(await collect(batches.results(id))).toMatchObject([
    { ok: false, error: { code: 'NETWORK', message: 'The connection to upstream failed.' } },
  ])
  await worker.close()
  await batches.close()
  await blossom.close()
})
