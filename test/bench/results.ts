import { readFileSync, writeFileSync } from 'node:fs'
import type { Results } from './table.js'

/** Writes one run, or several; the rounds of a figure stay on one line. */
export function writeResults(file: string, results: Results | readonly Results[]): void {
  const json = JSON.stringify(results, (_, value) => rounded(value), 1)
  const lines = json.replace(/\[[\s\d.,eE+-]+\]/g, (numbers) => numbers.replace(/\s+/g, ' '))
  writeFileSync(file, `${lines}\n`)
}

/** Reads what `writeResults` wrote. */
export function readResults(file: string): Results[] {
  const results = JSON.parse(readFileSync(file, 'utf8')) as Results | Results[]
  return Array.isArray(results) ? results : [results]
}

/** No clock is more exact. */
const rounded = (value: unknown): unknown =>
  typeof value === 'number' ? Number(value.toPrecision(6)) : value
