import { expect, it } from 'vitest'
import { createBatches } from '../../../src/batches/index.js'
import { collect, createBlossom } from '../../../src/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'
import { numbered } from '../../support/batches-contract.js'

it('the error of a line that reached no upstream hides the host from tenants', async () => {
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

it.each([401, 402, 403])(
  'the error of a line hides that upstream rejected the account of the server: %i',
  async (status) => {
    const upstream = await startLocalBlossom()
    upstream.fail(status, 9)
    const blossom = createBlossom({ baseURL: upstream.url })
    const batches = createBatches(blossom)
    const worker = batches.worker()
    const { id } = await batches.create(numbered(1))
    expect(await collect(batches.results(id))).toMatchObject([
      { ok: false, error: { message: 'The service is currently unavailable.' } },
    ])
    await worker.close()
    await batches.close()
    await blossom.close()
    await upstream.close()
  },
)
