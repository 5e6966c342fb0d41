import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI, { toFile } from 'openai'
import { afterEach, describe, expect, it } from 'vitest'
import { createGateway, type GatewayOptions, toNode } from '../../../../src/gateway/index.js'
import { createBlossom } from '../../../../src/index.js'
import { ExpressFramework, frameworks } from '../../../support/http-frameworks.js'
import { openSite, type Site } from '../../../support/http-site.js'

const SOUND = Buffer.from('RIFF\0\xff\r\n--x\r\n sound'.repeat(5_000), 'latin1')
const sha256 = createHash('sha256').update(SOUND).digest('hex')
const TRANSCRIPTIONS = '/v1/audio/transcriptions'

let site: Site
const open = async (gateway: GatewayOptions<never> = {}, framework = ExpressFramework) => {
  site = await openSite(framework, { gateway, upstream: { coalesce: false } })
  return new OpenAI({ apiKey: 'any', baseURL: `${site.url}/v1`, maxRetries: 0 })
}
afterEach(() => site[Symbol.asyncDispose]())

type Field = readonly [name: string, value: string | Buffer]

/** A form as text, which a test may spoil. */
function form(...fields: readonly Field[]): { body: string; type: string } {
  const parts = fields.map(([name, value]) => {
    const file = typeof value === 'string' ? '' : '; filename="a.wav"\r\ncontent-type: audio/wav'
    return `--x--x\r\ncontent-disposition: form-data; name="${name}"${file}\r\n\r\n${value.toString('latin1')}\r\n`
  })
  return { body: `${parts.join('')}--x--x--\r\n`, type: 'multipart/form-data; boundary=x--x' }
}

/** Sends a form, with its length or in chunks. */
async function send(
  { body, type }: { body: string; type: string },
  { path = TRANSCRIPTIONS, chunked = false, headers = {} } = {},
) {
  const bytes = Buffer.from(body, 'latin1')
  const response = await fetch(`${site.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': type, ...headers },
    body: chunked ? new Blob([bytes]).stream() : bytes,
    ...(chunked && { duplex: 'half' }),
  } as RequestInit)
  const text = await response.text()
  return { status: response.status, text, json: parsed(text) }
}
const parsed = (text: string) => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

describe.each(frameworks)('files through a server of $name', (framework) => {
  it('are transcribed and edited for OpenAI’s SDK, with and without a list of models', async () => {
    for (const models of [undefined, ['openai-audio', 'flux']]) {
      const openai = await open({ models }, framework)
      const file = await toFile(SOUND, 'a.wav', { type: 'audio/wav' })
      const model = 'openai-audio'
      // The SDK writes the fields in the order of the object.
      const { text } = await openai.audio.transcriptions.create({ model, file })
      expect(text).toBe(`A recording of ${SOUND.length} bytes.`)
      const edited = await openai.images.edit({ model: 'flux', prompt: 'Red', image: file })
      expect(edited.data?.[0]?.b64_json).toEqual(expect.any(String))
      const expected = { filename: 'a.wav', type: 'audio/wav', bytes: SOUND.length, sha256 }
      expect(site.upstream.requests.map(({ path, body }) => [path, body])).toEqual([
        [TRANSCRIPTIONS, { model, file: expected }],
        ['/v1/images/edits', { model: 'flux', prompt: 'Red', image: expected }],
      ])
      if (models === undefined) await site[Symbol.asyncDispose]()
    }
  })

  it('are refused above the limit, by their declared length or once they pass it', async () => {
    await open({ uploadLimit: 10_000 }, framework)
    for (const chunked of [false, true]) {
      const { status, json } = await send(form(['file', SOUND]), { chunked })
      expect([status, json?.error.code]).toEqual([413, 'too_large'])
    }
    await site.upstream.waitFor(({ active }) => active === 0)
    expect(site.upstream.requests.every(({ status }) => status === undefined)).toBe(true)
    expect((await send(form(['file', Buffer.from('small')]))).status).toBe(200)
  })
})

describe('files', () => {
  it('are sent in one attempt, and never stored', async () => {
    await open()
    site.upstream.fail(503, 1)
    expect((await send(form(['file', SOUND]))).status).toBe(503)
    expect(site.upstream.requests).toHaveLength(1)
    for (let i = 0; i < 2; i++) expect((await send(form(['file', SOUND]))).status).toBe(200)
    expect(site.upstream.requests).toHaveLength(3)
    expect(site.blossom.stats()).toMatchObject({ cache: { hits: 0, entries: 0 } })
  })

  it('come back as text, and as events', async () => {
    await open()
    const asText = await send(form(['response_format', 'text'], ['file', SOUND]))
    expect([asText.status, asText.text]).toEqual([200, `A recording of ${SOUND.length} bytes.`])
    const asEvents = await send(form(['stream', 'true'], ['file', SOUND]))
    expect(asEvents.text).toContain('event: transcript.text.delta\ndata: {')
    expect(asEvents.text.trimEnd().endsWith('data: [DONE]')).toBe(true)
    expect(asEvents.text).toContain('"type":"transcript.text.done"')
  })

  it('may be given as addresses in JSON, where pictures are edited', async () => {
    const openai = await open()
    const body = { model: 'flux', prompt: 'Red', image: ['https://example.com/a.png'] }
    const { status } = await site.ask('/v1/images/edits', { body })
    expect(status).toBe(200)
    expect(site.upstream.requests[0]?.body).toEqual(body)
    expect(openai).toBeDefined()
    expect((await site.ask(TRANSCRIPTIONS, { body })).status).toBe(415)
  })

  it.each([
    ['no boundary', 'multipart/form-data', {}, 415],
    ['another type', 'application/octet-stream', {}, 415],
    [
      'a compressed body',
      'multipart/form-data; boundary=x--x',
      { 'content-encoding': 'gzip' },
      415,
    ],
  ])('are refused with %s', async (_, type, headers, status) => {
    await open()
    const answer = await send({ ...form(['file', SOUND]), type }, { headers })
    expect(answer.status).toBe(status)
    expect(site.upstream.requests).toHaveLength(0)
  })

  it('go to listed models only, with the model named once and before the file', async () => {
    await open({ models: ['openai-audio'] })
    const model: Field = ['model', 'openai-audio']
    const file: Field = ['file', SOUND]
    const statusOf = async (...fields: Field[]) => (await send(form(...fields))).status
    expect(await statusOf(model, file)).toBe(200)
    expect(await statusOf(['language', 'en'], model, file, ['prompt', 'x'])).toBe(200)
    expect(site.upstream.requests[1]?.body).toMatchObject({ language: 'en', prompt: 'x' })
    const late = await send(form(file, model))
    expect([late.status, late.json.error.param]).toEqual([400, 'model'])
    expect(await statusOf(file)).toBe(400)
    expect(await statusOf(['model', 'dear'], file)).toBe(404)
    const { length } = site.upstream.requests
    expect(length).toBe(2)
    // The second one comes when the first has been sent on: upstream never gets a whole form.
    expect(await statusOf(model, file, ['model', 'dear'])).toBe(400)
    await site.upstream.waitFor(({ active }) => active === 0)
    expect(site.upstream.requests.slice(2).filter(({ status }) => status === 200)).toEqual([])
    const spoilt = form(model, file)
    expect((await send({ ...spoilt, body: spoilt.body.slice(0, -20) })).status).toBe(400)
  })
})

describe('a file that arrives slowly', () => {
  /** An upstream that tells what has come, and does not answer before all of it has. */
  async function slowly() {
    site = await openSite(ExpressFramework)
    const events: string[] = []
    const upstream = createServer((incoming, response) => {
      incoming.on('data', (bytes: Buffer) => events.push(`${bytes.length} bytes`))
      incoming.on('error', () => {})
      incoming.once('close', () => events.push(incoming.complete ? 'whole' : 'cut'))
      incoming.once('end', () =>
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"text":"Hi"}'),
      )
    })
    await once(upstream.listen(0, '127.0.0.1'), 'listening')
    const blossom = createBlossom({
      baseURL: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`,
    })
    const server = createServer(toNode(createGateway(blossom)))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const client = request({
      port: (server.address() as AddressInfo).port,
      path: TRANSCRIPTIONS,
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=x' },
    })
    client.on('error', () => {})
    const close = async () => {
      for (const one of [server, upstream]) {
        one.close()
        one.closeAllConnections()
      }
      await blossom.close({ timeoutMs: 0 })
    }
    return { client, events, close }
  }

  it('is forwarded upstream as it arrives', async () => {
    const { client, events, close } = await slowly()
    client.write('--x\r\n')
    await expect.poll(() => events).toContain('5 bytes')
    client.end('--x--\r\n')
    const [response] = await once(client, 'response')
    expect(response.statusCode).toBe(200)
    expect(events).toContain('whole')
    await close()
  })

  it('is cut off upstream when its client leaves', async () => {
    const { client, events, close } = await slowly()
    client.write('--x\r\n')
    await expect.poll(() => events).toContain('5 bytes')
    client.destroy()
    await expect.poll(() => events).toContain('cut')
    await close()
  })
})
