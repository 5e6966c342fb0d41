import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { installPackage } from '../../support/packed.js'

const PROGRAMS = join(import.meta.dirname, 'programs')
const run = promisify(execFile)

let folder: string
beforeAll(async () => {
  folder = await installPackage('elsewhere', PROGRAMS)
})

describe.each(['esbuild, CommonJS', 'esbuild, modules', 'webpack'])('%s', (name) => {
  // Outside of the packages, so that nothing but the bundle can be loaded.
  let empty: string
  beforeAll(async () => {
    empty = await mkdtemp(join(tmpdir(), 'bundled-'))
  })
  afterAll(() => rm(empty, { recursive: true, force: true }))

  it('bundles a server without the optional peers', async () => {
    const { stdout } = await run(process.execPath, ['bundle.mjs', name, empty], { cwd: folder })
    const { errors, warnings } = JSON.parse(stdout) as Record<string, string[]>
    expect(errors).toEqual([])
    const isExpected = (text: string) =>
      /["'](ws|redis|bullmq|@fastify\/busboy)["']|"import\.meta" is not available/.test(text)
    expect(warnings!.filter((text) => !isExpected(text))).toEqual([])
  })

  it('serves from the bundle, and says what is missing when it is used', async () => {
    const [server] = (await readdir(empty)).filter((file) => /^server\.[cm]js$/.test(file))
    const { stdout } = await run(process.execPath, [server!], { cwd: empty }).catch(
      // The line of code in front would be the whole bundle.
      ({ stderr }: { stderr: string }) => expect.fail(stderr.slice(-1_000)),
    )
    expect(JSON.parse(stdout)).toEqual({
      chat: 200,
      streamed: true,
      docs: [404, expect.stringContaining('@fastify/swagger-ui')],
      webSocket: expect.stringMatching(/^ConfigError: .*`npm install ws`/),
      warnings: expect.arrayContaining([
        expect.stringContaining('`npm install redis`'),
        expect.stringContaining('`npm install ws`'),
      ]),
    })
  })
})

describe('Jest 29', () => {
  it('tests a program in CommonJS', async () => {
    const jest = join(folder, 'node_modules/jest/bin/jest.js')
    const args = [jest, '--rootDir', folder, '--testMatch', '**/first.spec.cjs', '--json']
    const { stdout } = await run(process.execPath, args, { cwd: folder }).catch(
      (failed: { stdout: string; stderr: string }) => failed,
    )
    const { testResults, numPassedTests } = JSON.parse(stdout) as {
      testResults: { message: string }[]
      numPassedTests: number
    }
    expect(testResults.map(({ message }) => message)).toEqual([''])
    expect(numPassedTests).toBe(6)
  })
})
