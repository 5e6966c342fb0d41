import compress from '@fastify/compress'
import fastify from 'fastify'
import { mount } from '../recipes/fastify.mjs'
import { own, setRequestId } from './operator.mjs'

export async function start(context, use = mount) {
  const { blossom, options, isFull } = context
  const app = fastify({ bodyLimit: 25 * 1024 * 1024 })
  if (isFull) {
    app.addHook('onRequest', async ({ raw }, reply) => setRequestId(raw, reply.raw))
    await app.register(compress)
  }
  use(app, blossom, options)
  app.setNotFoundHandler((request, reply) => reply.send(own(request.url)))
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server
}
