import { H3, serve } from 'h3'
import { mount } from '../recipes/h3.mjs'
import { own } from './operator.mjs'

export async function start({ blossom, options }) {
  const app = new H3()
  mount(app, blossom, {
    ...options,
    requestId: (request) =>
      request.headers.get('x-set-header') ?? request.headers.get('x-set-req-id') ?? undefined,
  })
  app.all('/**', (event) => own(event.url.pathname))
  const server = serve(app, { port: 0, hostname: '127.0.0.1', silent: true })
  await server.ready()
  return server.node.server
}
