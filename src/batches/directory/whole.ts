import { createHash, randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Writes a file whole or not at all: whoever reads it finds what was there, or all of the new. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const other = `${path}.${randomUUID()}`
  try {
    const file = await open(other, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(other, path)
  } catch (error) {
    await rm(other, { force: true })
    throw error
  }
  await syncFolder(dirname(path))
}

/** A name in a folder is on the disk only when the folder is. */
export async function syncFolder(path: string): Promise<void> {
  // Windows keeps names by itself, and opens no folders.
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Writes a new file, and waits until it is on the disk. */
export async function writeDurably(
  path: string,
  pieces: Iterable<string> | AsyncIterable<string>,
): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    for await (const piece of pieces) await file.appendFile(piece)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** A name for a folder, whatever is in an id, and whether or not the disk knows capitals. */
export const folderOf = (id: string): string => createHash('sha256').update(id).digest('hex')
