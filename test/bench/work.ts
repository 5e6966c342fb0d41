import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { COUNTING } from './allocation.js'
import type { Counts } from './work-count.js'

/** What `survivors.ts` prints. */
export async function countSurvivors(folder: string): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--expose-gc',
    join(folder, 'survivors.js'),
  ])
  return Number(stdout)
}

/** Runs the count in a process of its own. */
export async function countWork(folder: string): Promise<Record<string, Counts>> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...COUNTING,
    join(folder, 'work-count.js'),
  ])
  return JSON.parse(stdout) as Record<string, Counts>
}
