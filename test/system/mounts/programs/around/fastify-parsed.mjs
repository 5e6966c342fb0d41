import { mount } from '../recipes/fastify-parsed.mjs'
import { start as startFastify } from './fastify.mjs'

export const start = (context) => startFastify(context, mount)
