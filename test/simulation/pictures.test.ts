import { readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { useFakeClock } from '../support/fake-clock.js'
import { PICTURES } from './pictures/index.js'

const clock = useFakeClock()

const layers = join(import.meta.dirname, '..', '..', 'src', 'layers')

describe('the picture', () => {
  it.each(Object.entries(PICTURES))(
    '%s is as `npm run simulate` draws it, and stands on its page with its figures',
    async (file, draw) => {
      const { svg, caption } = await draw(clock)
      expect(svg).not.toMatch(/NaN|Infinity|undefined/)
      expect(readFileSync(join(layers, file), 'utf8')).toBe(svg)
      const page = readFileSync(join(layers, dirname(file), 'README.md'), 'utf8')
      expect(page).toContain(`](${basename(file)})\n\n${caption}`)
    },
    60_000,
  )
})
