import { createHash, randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Replaces a file atomically: readers see either the old content or all of the new one. */
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

/** Syncs a folder, without which a new name in it may be lost in a crash. */
export async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders, and needs no sync for names.
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Writes a new file and waits until it is on the disk. */
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

/** The folder name for an id: a digest, which is valid and unique on any file system. */
export const folderOf = (id: string): string => createHash('sha256').update(id).digest('hex')
