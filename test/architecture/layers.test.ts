import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

/** The names of all layers: those of their folders, and of single files with a page beside them. */
const layers = readdirSync('src/layers', { withFileTypes: true })
  .filter(
    (entry) =>
      entry.isDirectory() ||
      (entry.name.endsWith('.ts') && existsSync(`src/layers/${entry.name.replace(/ts$/, 'md')}`)),
  )
  .map(({ name }) =>
    name.replace(/\.ts$/, '').replace(/-(.)/g, (_, letter: string) => letter.toUpperCase()),
  )

/** Where each layer has to be named, and the words that name it there. */
const PLACES: readonly (readonly [file: string, named: (layer: string) => string])[] = [
  ['src/index.ts', (layer) => `${layer},`],
  ['README.md', (layer) => `[\`${layer}\`]`],
  ['src/layers/README.md', (layer) => `\`${layer}\``],
  ['test/readme.test.ts', (layer) => `${layer}: library.${layer}`],
  ['test/abuse/factories.ts', (layer) => `  ${layer}: `],
  ['test/unit/layers/contract.test.ts', (layer) => `${layer}(`],
  ['test/support/layer-orders.ts', (layer) => `  ${layer}: (`],
]

describe('the layers', () => {
  it('are found', () => expect(layers).toEqual(expect.arrayContaining(['rateLimit', 'timeout'])))

  it.each(PLACES)('are all named in %s', (file, named) => {
    const text = readFileSync(file, 'utf8')
    expect(layers.filter((layer) => !text.includes(named(layer)))).toEqual([])
  })
})
