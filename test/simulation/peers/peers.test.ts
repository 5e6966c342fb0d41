import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { PAGE, parts, placeIn } from './tables.js'

describe('the page that compares with other libraries', () => {
  const page = readFileSync(PAGE, 'utf8')

  it.each(Object.entries(parts))(
    'has the figures of the simulation: %s',
    async (name, make) => {
      const { from, to } = placeIn(page, name)
      expect(page.slice(from, to), 'Run `npm run simulate:peers -- --publish`.').toBe(await make())
    },
    120_000,
  )

  it('has no placeholder left unfilled', () => {
    const places = [...page.matchAll(/<!-- simulated: (\w+) -->/g)].map(([, name]) => name)
    expect(places).toEqual(Object.keys(parts))
  })
})
