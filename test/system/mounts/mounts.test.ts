import { type Mount, testMounts } from './suite.js'

/** What operators usually have in front of the gateway in a server of Node's kind. */
const node = ['hasFramework', 'compresses', 'setsIds'] as const
const express = [...node, 'parses', 'fallsThrough'] as const

const mounts: readonly Mount[] = [
  { name: 'Express 5', program: 'express', has: express },
  { name: 'Koa 3', program: 'koa', has: [...node, 'parses'] },
  { name: 'Hono 4', program: 'hono', has: [...node, 'parses'] },
  { name: 'Fastify 5', program: 'fastify', has: node },
  { name: 'Fastify 5 with its parser', program: 'fastify-parsed', has: [...node, 'parses'] },
  { name: 'NestJS 12, app.use', program: 'nest', has: express },
  { name: 'NestJS 12, forRoutes of a path', program: 'nest-routes', has: express },
  { name: 'NestJS 12, forRoutes of all', program: 'nest-splat', has: express },
  { name: 'h3 v2', program: 'h3', has: ['hasFramework', 'setsIds'], kinds: ['full'] },
  {
    name: 'Next.js, app router',
    program: 'next-app',
    has: ['hasFramework', 'setsIds'],
    kinds: ['full'],
  },
  {
    name: 'Next.js, pages router',
    program: 'next-pages',
    has: ['hasFramework', 'setsIds', 'parses'],
    prefix: '/api/ai',
  },
  { name: 'node:http', program: 'node-http', has: ['compresses', 'setsIds'] },
  {
    name: 'node:http2',
    program: 'node-http2',
    has: ['setsIds'],
    kinds: ['full'],
    protocol: 'http2',
  },
  {
    name: 'node:http2, asked by HTTP/1',
    program: 'node-http2',
    has: ['setsIds'],
    kinds: ['full'],
    protocol: 'https',
  },
]

testMounts('mounts', mounts)
