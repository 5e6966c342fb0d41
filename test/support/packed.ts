import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inject } from 'vitest'
import type { TestProject } from 'vitest/node'
import { npm, QUIETLY } from './npm.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PACKAGES = join(ROOT, 'test/system/packages')

/** The library as its users get it. */
export interface Packed {
  readonly tarball: string
  /** The paths in it. */
  readonly files: readonly string[]
  /** A folder in which it is installed, without the optional peers. */
  readonly consumer: string
}

declare module 'vitest' {
  interface ProvidedContext {
    packed: Packed
  }
}

/** Packs the library once for all system tests, and installs the tarball into an empty folder. */
export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  if (!existsSync(join(ROOT, 'dist/index.js')))
    throw new Error('There is no build to pack: run `npm run build` first.')
  const consumer = await mkdtemp(join(tmpdir(), 'blossom-stack-'))
  const remove = () => rm(consumer, { recursive: true, force: true, maxRetries: 5 })
  try {
    // The build is taken as it is: it was made before, and a second one would be the same.
    const [packed] = JSON.parse(
      await npm(['pack', '--json', '--ignore-scripts', '--pack-destination', consumer], ROOT),
    ) as [{ filename: string; files: { path: string }[] }]
    const tarball = join(consumer, packed.filename)
    await writeFile(
      join(consumer, 'package.json'),
      JSON.stringify({ name: 'consumer', private: true }),
    )
    await npm(['install', ...QUIETLY, tarball], consumer)
    provide('packed', { tarball, files: packed.files.map(({ path }) => path), consumer })
  } catch (error) {
    await remove()
    throw error
  }
  return remove
}

/**
 * Installs one of the folders of `test/system/packages` by its lock file, below the folder that has
 * the library: its programs find both. Further folders are copied into it.
 */
export async function installPackage(name: string, ...programs: string[]): Promise<string> {
  const folder = join(inject('packed').consumer, name)
  await cp(join(PACKAGES, name), folder, { recursive: true })
  for (const from of programs) await cp(from, folder, { recursive: true })
  await npm(['ci', ...QUIETLY, '--prefer-offline'], folder)
  return folder
}
