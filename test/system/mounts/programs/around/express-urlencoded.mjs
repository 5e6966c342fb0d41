import { createServer } from 'node:http'
import express from 'express'
import { mount } from '../recipes/express.mjs'
import { listening, own, setRequestId } from './operator.mjs'

/** Only forms are parsed: Express 4 then sets `req.body` to `{}` on a body that nobody has read. */
export function start({ blossom, options }) {
  const app = express()
  app.use((req, res, next) => {
    setRequestId(req, res)
    next()
  })
  app.use(express.urlencoded({ extended: false }))
  mount(app, blossom, options)
  app.use((req, res) => res.json(own(req.originalUrl)))
  return listening(createServer(app))
}
