import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A fenced block of code in a markdown file. */
export interface Block {
  /** Where it stands, such as `README.md:42`: its first line of code. */
  readonly at: string
  /** The same as a name for a file. */
  readonly slug: string
  readonly file: string
  /** Number of its first line of code, from 1. */
  readonly line: number
  readonly language: string
  /** What is to be done with it: the first word after the language. */
  readonly use: string | undefined
  /** A name to save it by: the second word after the language. */
  readonly name: string | undefined
  readonly code: string
}

/**
 * The markdown pages that readers are shown, as paths below `root`. The changelog is a record, not
 * a page.
 */
export function findPages(root: string): string[] {
  const folders = ['examples', 'src', 'test/bench', 'test/faults']
  const below = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(
      (file) => `${folder}/${file.replaceAll('\\', '/')}`,
    ),
  )
  return [...readdirSync(root), ...below].filter(
    (file) => file.endsWith('.md') && file !== 'CHANGELOG.md',
  )
}

/** All fenced blocks of a markdown file, in order. */
export function readBlocks(root: string, file: string): Block[] {
  const lines = readFileSync(join(root, file), 'utf8').split(/\r?\n/)
  const blocks: Block[] = []
  let open: { line: number; words: string[] } | undefined
  lines.forEach((text, i) => {
    const fence = /^```(.*)$/.exec(text)
    if (!fence) return
    if (open === undefined) {
      open = { line: i + 2, words: fence[1]!.trim().split(/\s+/) }
      return
    }
    const { line, words } = open
    const [language = '', use, name] = words
    const at = `${file}:${line}`
    const slug = at.replace(/\W/g, '-')
    blocks.push({
      at,
      slug,
      file,
      line,
      language,
      use,
      name,
      code: `${lines.slice(line - 1, i).join('\n')}\n`,
    })
    open = undefined
  })
  if (open !== undefined) throw new Error(`${file}:${open.line}: the block is never closed.`)
  return blocks
}

/** What a block says it prints: the texts behind `// →`, line for line. */
export function promisedOutput({ code }: Block): string[] {
  return [...code.matchAll(/\/\/ →(.*)$/gm)].map((match) => match[1]!.trim())
}

/** Whether a printed line is the promised one, in which `…` stands for any text. */
export function isPromised(printed: string | undefined, promised: string | undefined): boolean {
  if (printed === undefined || promised === undefined) return printed === promised
  const parts = promised.split('…').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`).test(printed.trim())
}
