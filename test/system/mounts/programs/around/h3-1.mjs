import { createServer } from 'node:http'
import compression from 'compression'
import { createApp, eventHandler, fromNodeMiddleware, toNodeListener } from 'h3'
import { mount } from '../recipes/h3-1.mjs'
import { listening, own, setRequestId } from './operator.mjs'

export function start({ blossom, options, isFull }) {
  const app = createApp()
  if (isFull) {
    app.use(
      fromNodeMiddleware((req, res, next) => {
        setRequestId(req, res)
        next()
      }),
    )
    app.use(fromNodeMiddleware(compression()))
  }
  mount(app, blossom, options)
  app.use(eventHandler((event) => own(event.path)))
  return listening(createServer(toNodeListener(app)))
}
