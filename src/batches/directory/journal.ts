import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

/** The position and size of a line in its file, without the newline. */
export interface Place {
  readonly at: number
  readonly bytes: number
}

/** Lines to be written, and the promise that waits until they are on the disk. */
interface Entry {
  readonly lines: readonly string[]
  readonly written?: { resolve(places: Place[]): void; reject(error: unknown): void }
}

/** Size of each read. Bytes. */
const PART = 1024 * 1024

/**
 * A file to which lines of JSON are appended. A crash leaves at most an incomplete last line, which
 * is removed when the file is opened again. Entries that arrive during a write are written
 * together, with one `fsync`.
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

  /** Opens a file for reading only. */
  static reading(path: string): Journal {
    return new Journal(path, 0)
  }

  /** Opens a file. `read` is called for each line in it, with its position. */
  static async open(
    path: string,
    read: (text: string, at: number, bytes: number) => void,
  ): Promise<Journal> {
    const size = await readLines(path, read)
    const journal = new Journal(path, size)
    const file = await journal.#open()
    // Remove an incomplete line, so that the next one does not continue it.
    if ((await file.stat()).size > size) await file.truncate(size)
    return journal
  }

  /** Writes lines. Resolves with their positions when they are on the disk. */
  append(lines: readonly string[]): Promise<Place[]> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ lines, written: { resolve, reject } })
      this.#writing ??= this.#write()
    })
  }

  /** Writes a line soon. It survives a crash of the process, but not always one of the machine. */
  note(line: string): void {
    this.#pending.push({ lines: [line] })
    this.#writing ??= this.#write()
  }

  /** Reads a part of the file. */
  async read({ at, bytes }: Place): Promise<string> {
    const file = await this.#open()
    try {
      const { buffer } = await file.read(Buffer.allocUnsafe(bytes), 0, bytes, at)
      return buffer.toString('utf8')
    } catch (error) {
      // `release()` has closed the file in the meantime.
      if ((error as NodeJS.ErrnoException).code !== 'EBADF') throw error
      return this.read({ at, bytes })
    }
  }

  /** Closes the file after pending writes. The next line opens it again. */
  async release(): Promise<void> {
    await this.#writing
    const opened = this.#file
    this.#file = undefined
    const file = await opened?.catch(() => undefined)
    await file?.close()
  }

  async #open(): Promise<FileHandle> {
    // Not in append mode, in which every write goes to the end, even after the remains of a failed
    // one.
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
    // Remove the remains of a failed write, so that they are not read as lines.
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
 * Reads the complete lines of a file one by one. Resolves with the position after the last one, or
 * 0 if there is no file.
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
