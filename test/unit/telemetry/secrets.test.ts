import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createBlossom, stack, standard } from '../../../src/index.js'
import { instrument } from '../../../src/telemetry/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'
import { type Sdk, spanNamed, startSdk } from '../../support/opentelemetry.js'
import { KEY, PROMPT } from '../../support/secrets.js'
import { failure } from '../../support/watch.js'

let sdk: Sdk
beforeEach(() => {
  sdk = startSdk()
})
afterEach(() => sdk.stop())

/** Everything that was told of calls of many kinds, as one text. */
async function told(captureContent: boolean): Promise<string> {
  await using upstream = await startLocalBlossom({
    keys: [KEY],
    reply: () => `You said ${PROMPT}.`,
  })
  await using blossom = createBlossom({ apiKey: KEY, baseURL: upstream.url }).use(...standard())
  const stop = instrument(blossom, { captureContent, propagate: true, semconv: 'both' })
  await blossom.text.generate(PROMPT)
  for await (const _ of await blossom.text.stream(`${PROMPT} again`));
  await blossom.image.generate(PROMPT)
  await blossom.audio.speech(PROMPT)
  await blossom.embeddings.create([PROMPT])
  await blossom.request({ method: 'GET', path: `/image/${encodeURIComponent(PROMPT)}` })
  upstream.fault({ status: 400 })
  await failure(blossom.text.generate(`${PROMPT}?`))
  await failure(blossom.text.generate(`${PROMPT}.`, { apiKey: `${KEY}-of-nobody` }))
  stop()
  const spans = sdk.spans().map(({ name, attributes, events, status, links }) => ({
    name,
    attributes,
    events,
    status,
    links,
  }))
  expect(spans.length).toBeGreaterThan(10)
  return JSON.stringify([spans, await sdk.measured()])
}

describe('the telemetry of instrument()', () => {
  it('holds no prompt, no answer and no key', async () => {
    const text = await told(false)
    expect(text).not.toContain(KEY)
    expect(text).not.toContain(PROMPT.split(' ')[0])
    expect(text).not.toMatch(/You said|\/v1\/|\/image/)
  })

  it('holds prompts and answers on request, but never a key', async () => {
    const text = await told(true)
    expect(text).toContain(PROMPT.split(' ')[0])
    expect(text).toContain('You said')
    expect(text).not.toContain(KEY)
  })

  it('formats prompts and answers as the conventions define', async () => {
    await using upstream = await startLocalBlossom({ reply: () => 'To be seen.' })
    await using blossom = createBlossom({ baseURL: upstream.url })
    const stop = instrument(blossom, { captureContent: true })
    const picture = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'text', text: 'Why?' }, picture] },
    ]
    await blossom.chat.create({ messages })
    for await (const _ of await blossom.chat.stream({ messages, model: 'mistral' }));
    stop()
    for (const name of ['chat openai', 'chat mistral']) {
      const { attributes } = spanNamed(sdk.spans(), name)
      expect(JSON.parse(String(attributes['gen_ai.input.messages']))).toEqual([
        { role: 'system', parts: [{ type: 'text', content: 'Be brief.' }] },
        { role: 'user', parts: [{ type: 'text', content: 'Why?' }, { type: 'image_url' }] },
      ])
      expect(JSON.parse(String(attributes['gen_ai.output.messages']))).toEqual([
        {
          role: 'assistant',
          parts: [{ type: 'text', content: 'To be seen.' }],
          finish_reason: 'stop',
        },
      ])
    }
  })

  it('holds the request and the answer of any function', async () => {
    const ask = stack(async function shout(text: string) {
      return text.toUpperCase()
    })
    const stop = instrument(ask, { captureContent: true })
    await ask('hello')
    stop()
    const { attributes } = spanNamed(sdk.spans(), 'shout')
    expect(attributes['gen_ai.input.messages']).toContain('"hello"')
    expect(attributes['gen_ai.output.messages']).toContain('"HELLO"')
  })
})
