import { createServer } from 'node:http'
import compression from 'compression'
import express from 'express'
import { mount } from '../recipes/express.mjs'
import { listening, own, setRequestId } from './operator.mjs'

export function start({ blossom, options, isFull }) {
  const app = express()
  if (isFull) {
    app.use((req, res, next) => {
      setRequestId(req, res)
      next()
    })
    app.use(compression())
    app.use(express.json({ limit: '25mb' }), express.urlencoded({ extended: false }))
  }
  mount(app, blossom, options)
  app.use((req, res) => res.json(own(req.originalUrl)))
  return listening(createServer(app))
}
