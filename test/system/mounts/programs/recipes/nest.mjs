import { createGateway, toNode } from 'blossom-stack/http'

/** Call it in `bootstrap()`, before `app.listen()`. */
export function mount(app, blossom, options) {
  const gateway = createGateway(blossom, options)
  app.use('/ai', toNode(gateway))
  return gateway
}
