import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const { scripts, engines } = JSON.parse(read('package.json')) as {
  scripts: Record<string, string>
  engines: { node: string }
}

describe('.github', () => {
  const workflows = readdirSync(join(root, '.github/workflows'))

  it.each(workflows)('%s runs only commands that exist', (file) => {
    const commands = [...read(`.github/workflows/${file}`).matchAll(/npm run ([\w:]+)/g)]
    for (const [, script] of commands) expect(Object.keys(scripts)).toContain(script)
  })

  it('tries every supported Node on Linux, macOS and Windows', () => {
    const ci = read('.github/workflows/ci.yml')
    expect(ci).toContain('node: [20, 22, 24, 26]')
    expect(ci).toContain('os: [ubuntu-latest, macos-latest, windows-latest]')
    expect(engines.node).toBe('>=20.19')
    const check = scripts.check!.match(/npm (?:run )?[\w:]+/g)!
    for (const command of check) expect(ci).toContain(command)
  })

  it('publishes with provenance, from a tag that names the version', () => {
    const release = read('.github/workflows/release.yml')
    expect(release).toContain('npm publish --provenance')
    expect(release).toContain('id-token: write')
    expect(release).toMatch(/GITHUB_REF_NAME.*version/)
  })

  it('offers a private way to report vulnerabilities', () => {
    expect(existsSync(join(root, 'SECURITY.md'))).toBe(true)
    expect(read('.github/ISSUE_TEMPLATE/bug.yml')).toContain('SECURITY.md')
  })
})
