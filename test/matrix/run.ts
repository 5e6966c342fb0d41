/**
 * Runs the unit tests on every Node version that is supported, one after the other, and prints a
 * table. The versions come from npm, where each platform's binary is a package, and are kept in the
 * system's folder for temporary files. Build first: the tests look at `dist`, too.
 *
 *     npm run test:matrix                          all versions
 *     npm run test:matrix -- 22 24 --system        two of them, and the system tests as well
 *     npm run test:matrix -- 24 test/unit/core       one of them, some of the tests
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodeOf } from '../support/node-versions.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const VERSIONS = ['20', '22', '24', '26']

interface Outcome {
  readonly version: string
  readonly passed: number
  readonly failed: number
  readonly seconds: number
  /** Why there are no figures. */
  readonly trouble?: string
}

/** Whether `version` is at least what package.json asks for. */
function isSupported(version: string): boolean {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    engines: { node: string }
  }
  const numbersOf = (text: string) => (text.match(/\d+/g) ?? []).map(Number)
  const [least, given] = [numbersOf(engines.node), numbersOf(version)]
  for (const [i, number] of least.entries())
    if (given[i] !== number) return (given[i] ?? 0) > number
  return true
}

async function test(major: string, args: readonly string[]): Promise<Outcome> {
  const began = performance.now()
  let version = major
  const folder = mkdtempSync(join(tmpdir(), 'blossom-stack-matrix-'))
  const outcome = (figures: Pick<Outcome, 'passed' | 'failed' | 'trouble'>): Outcome => {
    return { version, ...figures, seconds: (performance.now() - began) / 1_000 }
  }
  try {
    const node = await nodeOf(major)
    version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.trim() || major
    if (!isSupported(version)) {
      return outcome({
        passed: 0,
        failed: 0,
        trouble: 'npm has only this one for this machine, which is older than the package supports',
      })
    }
    console.log(`\nNode ${version}`)
    const report = join(folder, 'report.json')
    const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs')
    const { status } = spawnSync(
      node,
      [vitest, 'run', ...args, '--reporter=dot', '--reporter=json', `--outputFile.json=${report}`],
      {
        cwd: ROOT,
        stdio: 'inherit',
      },
    )
    const { numPassedTests, numFailedTests, success } = JSON.parse(
      readFileSync(report, 'utf8'),
    ) as Record<string, number>
    const trouble = status === 0 && success ? undefined : `exit code ${status}`
    return outcome({
      passed: numPassedTests ?? 0,
      failed: numFailedTests ?? 0,
      ...(trouble && { trouble }),
    })
  } catch (error) {
    return outcome({ passed: 0, failed: 0, trouble: (error as Error).message })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const given = process.argv.slice(2)
const wanted = given.filter((word) => /^\d+$/.test(word))
const filters = given.filter((word) => !/^\d+$/.test(word) && word !== '--system')
const args = [
  '--project',
  'unit',
  ...(given.includes('--system') ? ['--project', 'system'] : []),
  ...filters,
]

const outcomes: Outcome[] = []
for (const major of wanted.length > 0 ? wanted : VERSIONS) outcomes.push(await test(major, args))
console.log('\n| Node | passed | failed | seconds | |\n|---|---|---|---|---|')
for (const { version, passed, failed, seconds, trouble } of outcomes) {
  console.log(`| ${version} | ${passed} | ${failed} | ${seconds.toFixed(0)} | ${trouble ?? ''} |`)
}
process.exitCode = outcomes.every(({ failed, trouble }) => failed === 0 && trouble === undefined)
  ? 0
  : 1
