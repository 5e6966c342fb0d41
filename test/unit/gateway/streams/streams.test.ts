import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { chunkOf, LAST, PacedUpstream } from '../../../support/paced-upstream.js'
import { begin, openServer, resume } from '../../../support/resuming.js'

let upstream: PacedUpstream
beforeEach(async () => {
  upstream = await PacedUpstream.start()
})
afterEach(() => upstream[Symbol.asyncDispose]())

/** The events of a text with their places. */
const numbered = (text: string): string =>
  text
    .split(/(?<=\n\n)/)
    .map((event, i) => `id: ${i}\n${event}`)
    .join('')

describe('a stream that can be resumed', () => {
  it('has an id, and dense ids on all of its events', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server)
    const stream = await upstream.stream()
    await stream.say('one', 'two')
    const reading = await asked
    expect(reading.id).toMatch(/^[0-9a-f]{32}$/)
    stream.finish()
    expect(await reading.rest()).toBe(numbered(chunkOf('one') + chunkOf('two') + LAST))
    const again = await resume(server, reading.id)
    expect(again.status).toBe(200)
    expect(await again.rest()).toBe(reading.text)
    expect((await resume(server, reading.id, { after: 3 })).status).toBe(204)
    expect((await resume(server, reading.id, { after: 2 })).status).toBe(200)
  })
})
