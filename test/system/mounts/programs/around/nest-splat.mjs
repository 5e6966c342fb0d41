import { mount } from '../recipes/nest-splat.mjs'
import { start as startNest } from './nest.mjs'

export const start = (context) => startNest(context, { configure: mount })
