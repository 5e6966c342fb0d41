import { createServer } from 'node:http'
import { bodyParser } from '@koa/bodyparser'
import Koa from 'koa'
import compress from 'koa-compress'
import { mount } from '../recipes/koa.mjs'
import { listening, own, setRequestId } from './operator.mjs'

export function start({ blossom, options, isFull }) {
  const app = new Koa()
  // A client that leaves in the middle of a stream is no news.
  app.on('error', () => {})
  if (isFull) {
    app.use((ctx, next) => {
      setRequestId(ctx.req, ctx.res)
      return next()
    })
    app.use(compress())
    app.use(bodyParser({ jsonLimit: '25mb' }))
  }
  mount(app, blossom, options)
  app.use((ctx) => {
    ctx.body = own(ctx.path)
  })
  return listening(createServer(app.callback()))
}
