import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { rateLimit } from '../../../../src/layers/rate-limit/index.js'

const page = readFileSync('src/layers/rate-limit/README.md', 'utf8')
const section = (title: string) =>
  new RegExp(`^## ${title}\\n([\\s\\S]*?)(?=^## |$(?![\\s\\S]))`, 'm').exec(page)?.[1] ?? ''
const rows = (text: string) => [...text.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]!)

/** The options that a refusal lists. */
function optionsOf(make: () => unknown): string[] {
  try {
    make()
  } catch (error) {
    return (error as Error).message.replace(/^.*expected one of |\.$/g, '').split(', ')
  }
  throw new Error('It took an option that there is none of.')
}

describe('the page of rateLimit', () => {
  it('has its headings in their order', () => {
    const headings = [...page.matchAll(/^## (.*)$/gm)].map((match) => match[1])
    expect(headings.join(', ')).toBe(
      'About, When to use it, Options, Stats, Patterns, Anti-patterns',
    )
  })

  it('names all options, and those of its limits', () => {
    const nonsense = { nonsense: 1 } as never
    const options = [
      ...optionsOf(() => rateLimit(nonsense)),
      ...optionsOf(() => rateLimit({ requests: nonsense })),
      ...optionsOf(() => rateLimit({ cost: nonsense })),
    ]
    expect(rows(section('Options')).sort()).toEqual(options.sort())
  })

  it('names all stats', () => {
    expect(rows(section('Stats'))).toEqual(Object.keys(rateLimit({ requests: 1 }).stats()))
  })
})
