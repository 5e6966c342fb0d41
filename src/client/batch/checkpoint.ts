import { type FileHandle, open, readFile } from 'node:fs/promises'
import { digest, isRecord, parseJson } from '../../core/index.js'
import type { TextResult } from '../types.js'

/**
 * A file with one JSON line for each finished item, from which an interrupted batch continues. A
 * line that a crash left incomplete is skipped.
 */
export class Checkpoint {
  readonly #file: FileHandle
  readonly #kept: ReadonlyMap<string, TextResult>

  private constructor(file: FileHandle, kept: ReadonlyMap<string, TextResult>) {
    this.#file = file
    this.#kept = kept
  }

  static async open(path: string): Promise<Checkpoint> {
    const before = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    const file = await open(path, 'a')
    // End an incomplete last line, so that the next one does not continue it.
    if (before !== '' && !before.endsWith('\n')) await file.appendFile('\n')
    return new Checkpoint(file, readLines(before))
  }

  /** The stored result for this prompt at this index, if there is one. */
  get(index: number, prompt: string): TextResult | undefined {
    return this.#kept.get(keyOf(index, prompt))
  }

  async add(index: number, prompt: string, result: TextResult): Promise<void> {
    // The headers describe one HTTP answer and mean nothing in a later run.
    const { headers: _, ...kept } = result
    await this.#file.appendFile(`${JSON.stringify({ key: keyOf(index, prompt), ...kept })}\n`)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

const keyOf = (index: number, prompt: string): string => digest(String(index), String(prompt))

function readLines(text: string): Map<string, TextResult> {
  const kept = new Map<string, TextResult>()
  for (const line of text.split('\n')) {
    try {
      const { key, ...result } = parseJson(line) as { key: string } & TextResult
      if (isRecord(result) && typeof key === 'string' && typeof result.text === 'string')
        kept.set(key, { ...result, headers: {} })
    } catch {
      // An empty line, or one that a crash left incomplete.
    }
  }
  return kept
}
