import { createGateway, toNode } from 'blossom-stack/http'

/** In `bootstrap()`, before `app.listen()`. */
export function mount(app, blossom, options) {
  const gateway = createGateway(blossom, options)
  app.use('/ai', toNode(gateway))
  return gateway
}
