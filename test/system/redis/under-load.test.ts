import { afterEach, expect, it } from 'vitest'
import { Service, throughTroubles, together } from '../../soak/processes/service.js'

let service: Service | undefined

afterEach(() => service?.remove())

it('no call is lost, duplicated, mixed up or left hanging, whatever happens to Redis', async () => {
  service = await Service.start(4, 20)
  await throughTroubles(service, { first: 300, trouble: 1_500, back: 6_500 })
  // Everything is shared again, by itself.
  await service.command('FLUSHALL')
  await expect.poll(async () => Number(await service?.command('DBSIZE'))).toBeGreaterThan(20)
  const told = await service.end()
  expect(told.map(({ open }) => open)).toEqual([0, 0, 0, 0])
  let calls = 0
  let streamsLost = 0
  for (const [phase, { wrong, failed, ...one }] of together(told)) {
    // Nothing else fails than a stream whose log was lost behind its first chunks.
    const { 'STREAM OWNER_LOST': lost = 0, ...others } = failed
    expect({ phase, wrong, others }).toEqual({ phase, wrong: 0, others: {} })
    calls += one.calls
    streamsLost += lost
  }
  expect(calls).toBeGreaterThan(1_000)
  expect(streamsLost).toBeLessThan(calls / 100)
  // They have served each other.
  expect(told.some(({ layers }) => layers.dedupe.elsewhere > 0)).toBe(true)
  expect(service.upstream.requests.length).toBeLessThan(calls)
}, 300_000)
