import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createBatches } from '../../../src/batches/index.js'
import { clientOf, echo } from '../../support/batches-contract.js'

const page = readFileSync(join(import.meta.dirname, '../../../src/batches/README.md'), 'utf8')
const part = (title: string) => page.split(`## ${title}\n`)[1]?.split('\n## ')[0] ?? ''
const rowsOf = (text: string) => [...text.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1])

describe('the page of batches', () => {
  it('has all parts', () => {
    expect([...page.matchAll(/^## (.*)$/gm)].map((match) => match[1])).toEqual([
      'About',
      'When to use it',
      'Options',
      'Stats',
      'Patterns',
      'Anti-patterns',
    ])
  })

  it('names all options, in the order of the code', () => {
    let refusal = ''
    try {
      createBatches(clientOf(echo), { nonsense: true } as never)
    } catch (error) {
      refusal = (error as Error).message
    }
    expect(rowsOf(part('Options'))).toEqual(
      refusal.replace(/^.*expected one of |\.$/g, '').split(', '),
    )
  })

  it('names all stats', () => {
    const stats = createBatches(clientOf(echo)).stats()
    expect(rowsOf(part('Stats'))).toEqual(Object.keys(stats))
  })
})
