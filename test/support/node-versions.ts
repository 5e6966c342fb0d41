import { mkdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { npm, QUIETLY } from './npm.js'

const KEPT = join(tmpdir(), 'blossom-stack-nodes')

/**
 * The package that holds Node for this machine: the names by which the npm package `node` knows
 * them.
 */
function packageName(): string {
  const platform = process.platform === 'win32' ? 'win' : process.platform
  const arch = process.platform === 'win32' && process.arch === 'ia32' ? 'x86' : process.arch
  return `${process.platform === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node'}-${platform}-${arch}`
}

const major = (version: string): number => Number(version.split('.')[0])

/** The path of a Node of this major version: the one that runs, or npm's newest. */
export async function nodeOf(version: string): Promise<string> {
  if (major(process.versions.node) === major(version)) return process.execPath
  const folder = join(KEPT, version)
  const name = packageName()
  await mkdir(folder, { recursive: true })
  await npm([
    ...['install', '--no-save', '--no-package-lock', ...QUIETLY],
    ...['--prefix', folder, `${name}@${version}`],
  ])
  const installed = join(folder, 'node_modules', name)
  const { bin } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
    bin: { node: string }
  }
  return join(installed, bin.node)
}

/** The path of a Node that is at least this one; undefined where npm has none for this machine. */
export async function nodeFrom(least: string): Promise<string | undefined> {
  if (major(process.versions.node) >= major(least)) return process.execPath
  try {
    return await nodeOf(least)
  } catch (error) {
    console.warn(`Node ${least} cannot be had: ${(error as Error).message}`)
    return undefined
  }
}
