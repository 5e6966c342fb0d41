/** Blossom in a Hono server: one plain route and one streamed. `npm run demo` starts it. */
import { type Blossom, isStackError, sseHeaders, toProblem, toServerSentEvents, toWebStream, ValidationError } from 'blossom-stack'
import { Hono } from 'hono'

/** What a visitor may ask for, checked: the fields of the two routes below. */
async function readBody(request: Request): Promise<{ prompt: string; options: { maxTokens?: number; temperature?: number; model?: string } }> {
  const body: unknown = await request.json().catch(() => undefined)
  if (typeof body !== 'object' || body === null) throw new ValidationError('The body must be a JSON object.')
  const { prompt, max_tokens: maxTokens = 100, temperature = 0.7, model } = body as Record<string, unknown>
  if (typeof prompt !== 'string' || prompt.trim() === '') throw new ValidationError('"prompt" must be a string that is not empty.')
  // The client checks the numbers and the model's name by itself, before anything is sent.
  return { prompt, options: { maxTokens, temperature, ...(model === undefined ? {} : { model }) } as never }
}

export function createApp(blossom: Blossom<readonly unknown[]>): Hono {
  const app = new Hono()

  app.post('/generate/text', async (c) => {
    const { prompt, options } = await readBody(c.req.raw)
    // The request's own signal: a visitor who leaves ends the call upstream.
    const { text, model, usage } = await blossom.text.generate(prompt, { ...options, signal: c.req.raw.signal })
    return c.json({ text, model, tokens_used: usage?.totalTokens ?? null })
  })

  app.post('/generate/stream', async (c) => {
    const { prompt, options } = await readBody(c.req.raw)
    const { signal } = c.req.raw
    const stream = await blossom.text.stream(prompt, { ...options, signal })
    return new Response(toWebStream(toServerSentEvents(stream, { signal })), { headers: sseHeaders })
  })

  app.get('/health/live', (c) => c.json({ status: 'ok' }))

  app.onError((error) => {
    const { status, headers, body } = toProblem(error)
    if (!isStackError(error)) console.error(error)
    return Response.json(body, { status, headers })
  })
  return app
}
