import { afterEach, describe, expect, it } from 'vitest'
import { createBlossom } from '../../../src/client/client.js'
import { pool } from '../../../src/layers/pool/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/local-blossom/index.js'

const closing: { close(): Promise<void> }[] = []
const kept = <T extends { close(): Promise<void> }>(thing: T): T => {
  closing.push(thing)
  return thing
}
afterEach(async () => {
  for (const thing of closing.splice(0).reverse()) await thing.close()
})

const keysSeen = (upstream: LocalBlossom) =>
  upstream.requests.map(({ keySha256 }) => keySha256 !== undefined)

describe("the client's key", () => {
  it("goes only to the client's own address, not to a pool member's different address", async () => {
    const [ours, theirs] = [kept(await startLocalBlossom()), kept(await startLocalBlossom())]
    const blossom = kept(
      createBlossom({ apiKey: 'sk_ours', baseURL: ours.url }).use(
        pool({ members: [{ baseURL: theirs.url }, { weight: 1 }] }),
      ),
    )
    for (let i = 0; i < 4; i++) await blossom.text.generate(`Hello ${i}`)
    expect(keysSeen(theirs)).toEqual([false, false])
    expect(keysSeen(ours)).toEqual([true, true])
  })

  it("is overridden by a member's key and by the call's own", async () => {
    const upstream = kept(await startLocalBlossom({ keys: ['sk_member', 'sk_caller'] }))
    const blossom = kept(
      createBlossom({ apiKey: 'sk_wrong', baseURL: upstream.url }).use(
        pool({ members: [{ apiKey: 'sk_member' }] }),
      ),
    )
    await blossom.text.generate('Hello')
    await blossom.text.generate('Hello', { apiKey: 'sk_caller' })
    await expect(blossom.text.generate('Hello', { apiKey: 'sk_nobody' })).rejects.toMatchObject({
      code: 'AUTH',
    })
  })
})
