import { Readable } from 'node:stream'
import { createGateway, toRequest } from 'blossom-stack/http'

export function mount(app, blossom, options) {
  const gateway = createGateway(blossom, { ...options, prefix: '/ai' })
  app.use(async (ctx, next) => {
    if (!ctx.path.startsWith('/ai/')) return next()
    const request = toRequest(ctx.req, ctx.res, { body: ctx.request.body })
    const { status, headers, body } = await gateway(request, ctx)
    ctx.status = status
    for (const [name, value] of headers)
      name === 'set-cookie' ? ctx.append(name, value) : ctx.set(name, value)
    if (body !== null) ctx.body = Readable.fromWeb(body)
  })
  return gateway
}
