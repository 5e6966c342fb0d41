import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chunkOf, LAST, PacedUpstream } from '../../../support/paced-upstream.js'
import {
  begin,
  completeEvents,
  lastIdIn,
  numbered,
  openServer,
  type Reading,
  resume,
  type Server,
  SharedMemory,
} from '../../../support/resuming.js'

let upstream: PacedUpstream
let asked = 0
/** One server, and two that know of each other. */
let alone: Server
let pair: readonly [Server, Server]

beforeAll(async () => {
  upstream = await PacedUpstream.start()
  alone = openServer(upstream.url)
  const memory = new SharedMemory()
  pair = [openServer(upstream.url, { memory }), openServer(upstream.url, { memory })]
})
afterAll(async () => {
  for (const server of [alone, ...pair]) await server[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

/** How a client says where it stands. */
const WAYS = {
  header: (last: number) => ({ after: last }),
  after: (last: number) => ({ query: `?after=${last}` }),
  starting_after: (last: number) => ({ query: `?starting_after=${last}` }),
  // The address of an EventSource stays what it was at first.
  'both, the header newer': (last: number) => ({ query: '?after=0', after: last }),
}
type Way = keyof typeof WAYS

/** Goes on behind the complete events of what was read. */
const goOn = (server: Server, id: string, read: string, way: Way): Promise<Reading> => {
  const last = lastIdIn(read)
  return resume(server, id, last === undefined ? {} : WAYS[way](last))
}

/** A part of what there is. Doubles would nearly all be next to nothing. */
const share = fc.integer({ min: 0, max: 100 }).map((percent) => percent / 100)

const whole = (text: string): string => completeEvents(text).join('')

describe.each(['one server', 'two servers'])('a stream of %s', (which) => {
  const servers = (): readonly [Server, Server] => (which === 'one server' ? [alone, alone] : pair)

  it('that has ended reads the same wherever it was cut', { timeout: 120_000 }, async () => {
    const [first, second] = servers()
    const asking = begin(first)
    const stream = await upstream.stream(asked++)
    await stream.say('The ', 'whole\n\n', 'id: 7', ' tr\u00fcth ', '\u{1f338}')
    stream.finish()
    const reading = await asking
    const uncut = await reading.rest()
    expect(uncut).toContain('[DONE]')
    for (let cut = 0; cut < uncut.length; cut++) {
      const read = uncut.slice(0, cut)
      const rest = await goOn(second, reading.id, read, 'header')
      expect([cut, whole(read) + (await rest.rest())]).toEqual([cut, uncut])
    }
    expect((await goOn(second, reading.id, uncut, 'header')).status).toBe(204)
  })

  it('that is running reads the same however often, wherever and however it is cut', {
    timeout: 300_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'grapheme', maxLength: 8 }), { minLength: 1, maxLength: 8 }),
        // Each: how far upstream has come, how much of it is read, and by which way it goes on.
        fc.array(
          fc.tuple(share, share, fc.constantFrom(...(Object.keys(WAYS) as Way[])), fc.boolean()),
          { minLength: 1, maxLength: 4 },
        ),
        async (words, cuts) => {
          const chunks = words.map((word) => chunkOf(`${word}.`))
          const sent = chunks.join('') + LAST
          const expected = numbered(sent)
          const all = servers()
          const asking = begin(all[0])
          const stream = await upstream.stream(asked++)
          // The head is sent with the first chunk.
          const bytes = Buffer.from(sent)
          let at = Buffer.byteLength(chunks[0] as string)
          await stream.send(bytes.subarray(0, at))
          let reading = await asking
          const { id } = reading
          // The events that the client has from connections before this one.
          let kept = ''
          for (const [come, seen, way, isElsewhere] of cuts) {
            const next = at + Math.floor((bytes.length - at) * come)
            await stream.send(bytes.subarray(at, next))
            at = next
            const there = numbered(whole(bytes.subarray(0, at).toString()))
            await reading.until(there.length - kept.length)
            kept = whole(kept + reading.text.slice(0, Math.floor(reading.text.length * seen)))
            const before = reading
            if (isElsewhere) await before.leave()
            reading = await goOn(all[isElsewhere ? 1 : 0], id, kept, way)
            // Here the new connection comes before it is known that the old one is gone.
            await before.leave()
            expect(reading.status).toBe(kept === expected ? 204 : 200)
          }
          await stream.send(bytes.subarray(at))
          stream.end()
          expect(kept + (await reading.rest())).toBe(expected)
        },
      ),
      { numRuns: 150 },
    )
  })
})
