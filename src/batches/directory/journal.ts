import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

/** Where a line stands in its file, without its end. */
export interface Place {
  readonly at: number
  readonly bytes: number
}

/** Lines that are to be written, and who waits for them to be on the disk. */
interface Entry {
  readonly lines: readonly string[]
  readonly written?: { resolve(places: Place[]): void; reject(error: unknown): void }
}

/** How much of a file is read at once. Bytes. */
const PART = 1024 * 1024

/**
 * A file to which lines of JSON are added. A process that dies leaves at most a last line cut short,
 * which is taken off when the file is opened again. Entries that come while one is written go
 * together, with one `fsync` for all of them.
 */
export class Journal {
  readonly #path: string
  #file: Promise<FileHandle> | undefined
  #size: number
  #hasRemains = false
  #pending: Entry[] = []
  #writing: Promise<void> | undefined

  private constructor(path: string, size: number) {
    this.#path = path
    this.#size = size
  }

  /** A file that is only read. */
  static reading(path: string): Journal {
    return new Journal(path, 0)
  }

  /** `read` is called for each line that the file holds, with its place. */
  static async open(
    path: string,
    read: (text: string, at: number, bytes: number) => void,
  ): Promise<Journal> {
    const size = await readLines(path, read)
    const journal = new Journal(path, size)
    const file = await journal.#open()
    // A line that was cut short must not become the beginning of the next one.
    if ((await file.stat()).size > size) await file.truncate(size)
    return journal
  }

  /** Writes lines, and resolves with where they stand when they are on the disk. */
  append(lines: readonly string[]): Promise<Place[]> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ lines, written: { resolve, reject } })
      this.#writing ??= this.#write()
    })
  }

  /** Writes a line soon. It may be lost when the machine fails, not when the process dies. */
  note(line: string): void {
    this.#pending.push({ lines: [line] })
    this.#writing ??= this.#write()
  }

  /** A part of the file. */
  async read({ at, bytes }: Place): Promise<string> {
    const file = await this.#open()
    try {
      const { buffer } = await file.read(Buffer.allocUnsafe(bytes), 0, bytes, at)
      return buffer.toString('utf8')
    } catch (error) {
      // It was given back in between.
      if ((error as NodeJS.ErrnoException).code !== 'EBADF') throw error
      return this.read({ at, bytes })
    }
  }

  /** Gives the file back, behind what is still to be written. It is opened again for the next line. */
  async release(): Promise<void> {
    await this.#writing
    const opened = this.#file
    this.#file = undefined
    const file = await opened?.catch(() => undefined)
    await file?.close()
  }

  async #open(): Promise<FileHandle> {
    // Not for appending: there every write goes to the end, also behind a failed one.
    this.#file ??= open(this.#path, constants.O_RDWR | constants.O_CREAT, 0o600)
    try {
      return await this.#file
    } catch (error) {
      this.#file = undefined
      throw error
    }
  }

  async #write(): Promise<void> {
    while (this.#pending.length > 0) {
      const entries = this.#pending
      this.#pending = []
      let at = this.#size
      const written = entries.map(({ lines }) =>
        lines.map((line) => {
          const bytes = Buffer.byteLength(line)
          const place = { at, bytes }
          at += bytes + 1
          return place
        }),
      )
      try {
        await this.#writeAll(entries)
        entries.forEach((entry, i) => void entry.written?.resolve(written[i] as Place[]))
      } catch (error) {
        for (const entry of entries) entry.written?.reject(error)
      }
    }
    this.#writing = undefined
  }

  async #writeAll(entries: readonly Entry[]): Promise<void> {
    const file = await this.#open()
    // What a write that failed has left behind must not be read as lines.
    if (this.#hasRemains) await file.truncate(this.#size)
    this.#hasRemains = true
    const text = entries.flatMap(({ lines }) => lines.map((line) => `${line}\n`)).join('')
    const bytes = Buffer.from(text)
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await file.write(bytes, done, bytes.length - done, this.#size + done)
      done += bytesWritten
    }
    if (entries.some(({ written }) => written !== undefined)) await file.datasync()
    this.#size += bytes.length
    this.#hasRemains = false
  }
}

/**
 * Reads the whole lines of a file, one by one. Resolves with where the last of them ends; 0 when
 * there is no file.
 */
export async function readLines(
  path: string,
  read: (text: string, at: number, bytes: number) => void,
): Promise<number> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
  try {
    return await readFrom(file, read)
  } finally {
    await file.close()
  }
}

async function readFrom(
  file: FileHandle,
  read: (text: string, at: number, bytes: number) => void,
): Promise<number> {
  const NEW_LINE = 10
  let start = 0
  let rest: Buffer = Buffer.alloc(0)
  for (;;) {
    const buffer = Buffer.allocUnsafe(PART)
    const { bytesRead } = await file.read(buffer, 0, PART, start + rest.length)
    if (bytesRead === 0) return start
    const all = Buffer.concat([rest, buffer.subarray(0, bytesRead)])
    let from = 0
    for (let end = all.indexOf(NEW_LINE); end !== -1; end = all.indexOf(NEW_LINE, from)) {
      read(all.toString('utf8', from, end), start + from, end - from)
      from = end + 1
    }
    start += from
    rest = all.subarray(from)
  }
}
