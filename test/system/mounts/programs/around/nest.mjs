import 'reflect-metadata'
import { All, Controller, Module, Req } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import compression from 'compression'
import { mount } from '../recipes/nest.mjs'
import { own, setRequestId } from './operator.mjs'

/** The decorators by hand, as TypeScript would call them. */
function controllerFor(path) {
  class Own {
    answer(req) {
      return own(req.originalUrl)
    }
  }
  Controller()(Own)
  All(path)(Own.prototype, 'answer', Object.getOwnPropertyDescriptor(Own.prototype, 'answer'))
  Req()(Own.prototype, 'answer', 0)
  return Own
}

/** @param configure mounts the gateway in a module; `inMain` in front of everything */
export async function start({ blossom, options, isFull }, { configure, inMain = mount } = {}) {
  class AppModule {
    configure(consumer) {
      configure?.(consumer, blossom, options)
    }
  }
  Module({ controllers: [controllerFor('*splat')] })(AppModule)
  const app = await NestFactory.create(AppModule, { logger: false, bodyParser: false })
  if (isFull) {
    app.use((req, res, next) => {
      setRequestId(req, res)
      next()
    })
    app.use(compression())
    app.useBodyParser('json', { limit: '25mb' })
  }
  if (configure === undefined) inMain(app, blossom, options)
  await app.listen(0, '127.0.0.1')
  return app.getHttpServer()
}
