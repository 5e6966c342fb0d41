const {
  TimeoutError,
  createBlossom,
  isStackError,
  retry,
  stack,
  standard,
  timeout,
} = require('blossom-stack')
const { createGateway } = require('blossom-stack/http')
const { scripted, startLocalBlossom } = require('blossom-stack/testing')

let upstream
let blossom
beforeAll(async () => {
  upstream = await startLocalBlossom()
  blossom = createBlossom({ baseURL: upstream.url }).use(...standard())
})
afterAll(async () => {
  await blossom.close()
  await upstream.close()
})

test('a first stack', async () => {
  const first = await blossom.text.generate('Hello')
  const second = await blossom.text.generate('Hello')
  expect(second).toMatchObject({ text: first.text, cached: true })
})

test('a stream', async () => {
  let text = ''
  for await (const piece of await blossom.text.stream('Tell me a story')) text += piece.text
  expect(text).toContain('Tell me a story')
})

test('a failure that passes', async () => {
  upstream.fail(503)
  await expect(blossom.text.generate('Twice', { cache: 'no-store' })).resolves.toBeDefined()
})

test('an error of its kind', async () => {
  const never = stack(() => new Promise(() => {}), timeout({ ms: 20 }))
  const error = await never('anything').catch((thrown) => thrown)
  expect(error).toBeInstanceOf(TimeoutError)
  expect(isStackError(error, 'TIMEOUT')).toBe(true)
})

test('a base for tests', async () => {
  const answer = stack(
    scripted([new Error('once'), 'well']),
    retry({ when: () => true, minDelayMs: 1 }),
  )
  await expect(answer('anything')).resolves.toBe('well')
})

test('the gateway', async () => {
  const gateway = createGateway(blossom)
  const ask = (body) =>
    gateway(
      new Request('https://any.example/generate/stream', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    )
  expect(await (await ask({ prompt: 'Hello' })).text()).toMatch(/data: \[DONE\]\n\n$/)
  expect((await ask({ prompt: '' })).status).toBe(400)
  await gateway.close()
})
