import { testMounts } from './suite.js'

const node = ['hasFramework', 'compresses', 'setsIds'] as const
const express = [...node, 'parses', 'fallsThrough'] as const

testMounts('mounts-older', [
  { name: 'Express 4', program: 'express', has: express },
  {
    name: 'Express 4 with urlencoded() alone',
    program: 'express-urlencoded',
    has: ['hasFramework', 'setsIds', 'fallsThrough'],
    kinds: ['full'],
  },
  { name: 'Koa 2', program: 'koa', has: [...node, 'parses'] },
  { name: 'NestJS 11, app.use', program: 'nest', has: express },
  { name: 'NestJS 11, forRoutes of a path', program: 'nest-routes', has: express },
  { name: 'NestJS 11, forRoutes of all', program: 'nest-splat', has: express },
  { name: 'h3 v1', program: 'h3-1', has: [...node, 'fallsThrough'] },
])
