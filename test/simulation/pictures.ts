import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fakeClock } from '../../src/testing/fake-clock.js'
import { PICTURES } from './pictures/index.js'

const layers = join(import.meta.dirname, '..', '..', 'src', 'layers')
const clock = fakeClock()
for (const [file, draw] of Object.entries(PICTURES)) {
  console.error(`Simulating for src/layers/${file} …`)
  const { svg, caption } = await draw(clock)
  writeFileSync(join(layers, file), svg)
  // The page has it below the picture.
  console.log(caption)
}
clock.restore()
