import { expect, it } from 'vitest'
import { createBatches } from '../../../src/batches/index.js'
import { redisShared } from '../../../src/redis/index.js'
import { all, clientOf, numbered } from '../../support/batches-contract.js'
import { sharedCluster } from '../redis/shared-cluster.js'

const cluster = sharedCluster()

it('runs batches in a cluster, on whichever server the names lead to', async () => {
  const { client, close } = await cluster.open()
  for (const name of ['one', 'two', 'three', 'four']) {
    const shared = redisShared({ client })
    const asked: unknown[] = []
    const batches = createBatches(
      clientOf(({ n }) => {
        asked.push(n)
        return { n }
      }),
      { shared, name },
    )
    const { id } = await batches.create(numbered(60))
    const worker = batches.worker()
    expect(await all(batches.results(id))).toHaveLength(60)
    expect(asked).toHaveLength(60)
    await batches.create(numbered(600), { id: 'cancelled' })
    await worker.close()
    await batches.cancel('cancelled')
    expect((await batches.status('cancelled')).status).toBe('cancelled')
    await batches.close()
    await shared.close()
  }
  await close()
})
