import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { compress } from 'hono/compress'
import { mount } from '../recipes/hono.mjs'
import { listening, own } from './operator.mjs'

export function start({ blossom, options, isFull }) {
  const app = new Hono()
  if (isFull) {
    app.use(compress())
    app.use(async (c, next) => {
      if (/json/.test(c.req.header('content-type') ?? '')) c.set('body', await c.req.json())
      await next()
    })
  }
  mount(app, blossom, {
    ...options,
    body: (_, c) => c.get('body'),
    requestId: (_, c) => c.req.header('x-set-header') ?? c.req.header('x-set-req-id'),
  })
  app.all('*', (c) => c.json(own(c.req.path)))
  return listening(createAdaptorServer({ fetch: app.fetch }))
}
