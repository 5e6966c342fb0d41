import { expect, it, vi } from 'vitest'
import { ConfigError, stack } from '../../../src/index.js'
import { instrument, prometheus } from '../../../src/telemetry/index.js'

vi.mock('node:module', async (original) => ({
  ...(await original<typeof import('node:module')>()),
  createRequire: () => () => {
    throw new Error('Cannot find module')
  },
}))

it('instrument() names the package that it needs, and prometheus() needs none', () => {
  const ask = stack(async () => 1)
  expect(() => instrument(ask)).toThrow(ConfigError)
  expect(() => instrument('all')).toThrow('`npm install @opentelemetry/api`')
  expect(prometheus(ask).text()).toContain('blossom_calls_total')
})
