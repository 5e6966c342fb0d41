/** `npm run simulate:peers` prints the tables; with `-- --publish` it puts them into the page. */
import { readFileSync, writeFileSync } from 'node:fs'
import { PAGE, parts, placeIn } from './tables.js'

const isPublished = process.argv.includes('--publish')
for (const [name, make] of Object.entries(parts)) {
  const text = await make()
  console.log(`${name}\n\n${text}\n`)
  if (!isPublished) continue
  const page = readFileSync(PAGE, 'utf8')
  const { from, to } = placeIn(page, name)
  writeFileSync(PAGE, page.slice(0, from) + text + page.slice(to))
}
