/**
 * `npm run bench` runs every benchmark of this folder, `npm run bench -- calls hits` some of them.
 * `--quick`: one short round of each, to see that they still run. `--json FILE` writes the figures,
 * `--goals` prints them beside the goals, `--source` measures `src` without a build. `npm run
 * bench:report` compares such files.
 */
import { fork } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Message } from './bench.js'
import { compile } from './compile.js'
import { goalsTable } from './goal.js'
import { goalsOf } from './goals.js'
import { writeResults } from './results.js'
import { printTable, type Results, type Table } from './table.js'

const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => basename(file, '.bench.ts'))
  .sort()

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        quick: { type: 'boolean', default: false },
        json: { type: 'string' },
        goals: { type: 'boolean', default: false },
        source: { type: 'boolean', default: false },
      },
    })
    const unknown = positionals.find((name) => !names.includes(name))
    if (unknown !== undefined)
      throw new Error(`There is no benchmark "${unknown}"; there are: ${names.join(', ')}.`)
    return { ...values, wanted: positionals.length > 0 ? positionals : names }
  } catch (error) {
    console.error((error as Error).message)
    process.exit(1)
  }
}

const { quick, json, goals, source, wanted } = readArguments()

const clear = '\r\u001b[K'
function progress(text: string): void {
  if (process.stderr.isTTY)
    process.stderr.write(`${clear}${text.slice(0, (process.stderr.columns ?? 80) - 1)}`)
}

const tables: Table[] = []
const leftOut: string[] = []
const failed: string[] = []

/** Runs one benchmark to its end. */
function runOne(folder: string, name: string): Promise<void> {
  return new Promise((resolve) => {
    const child = fork(join(folder, 'one.js'), [name, ...(quick ? ['--quick'] : [])], {
      execArgv: ['--expose-gc'],
    })
    child.on('message', (message: Message) => {
      if ('progress' in message) return progress(message.progress)
      progress('')
      if ('table' in message) {
        tables.push(message.table)
        printTable(message.table)
      } else if ('leftOut' in message) {
        leftOut.push(message.leftOut)
        console.log(`\n${message.leftOut}`)
      } else console.error(`\n${name} failed: ${message.failed}`)
    })
    child.on('exit', (code) => {
      progress('')
      if (code !== 0) failed.push(name)
      resolve()
    })
  })
}

const machine = `${process.platform} ${process.arch}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`
console.log(
  `Node ${process.version}, ${machine}. × compares with the first line, round by round; absolute figures are this machine's, now.`,
)
const { folder, remove } = await compile({ source })
process.on('exit', remove)
process.once('SIGINT', () => process.exit(130))
for (const name of wanted) await runOne(folder, name)

const results: Results = {
  node: process.version,
  machine,
  date: new Date().toISOString().slice(0, 10),
  quick,
  tables,
  leftOut,
}
if (json !== undefined) writeResults(json, results)
if (goals) console.log(`\n${goalsTable(goalsOf(results))}`)
if (failed.length > 0) {
  console.error(`\nThese benchmarks failed: ${failed.join(', ')}.`)
  process.exitCode = 1
}
