import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { type Module, modulesBelow } from './modules.js'

/** Where time is taken from, and timers are started. */
const CLOCK = 'src/core/time/'

/** What is about real time, whatever clock a test has set. */
const REAL_TIME: Readonly<Record<string, string>> = {
  'src/testing/contract/trial.ts': 'its cases need real timers, and give up after a real while',
  'src/testing/fake-clock.ts': 'it begins at the real time, and gives the event loop its turns',
  'src/testing/local-blossom/exchange.ts': 'a turn for the socket is not a matter of time',
  'src/testing/local-blossom/waiters.ts': 'a test that waits in vain must end all the same',
}

const TIMERS = /^(set|clear)(Timeout|Interval|Immediate)$/
const CLOCKS = new Set(['performance.now', 'Date.now', 'performance.timeOrigin'])

/** Where a module takes the time, or starts a timer, by itself. */
function timesIn({ path, text }: Module): string[] {
  const found: string[] = []
  if (!/performance|Date|Timeout|Interval|Immediate/.test(text)) return found
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const visit = (node: ts.Node): void => {
    const isType = ts.isTypeNode(node)
    if (ts.isIdentifier(node) && TIMERS.test(node.text)) found.push(node.text)
    if (ts.isPropertyAccessExpression(node) && CLOCKS.has(node.getText()))
      found.push(node.getText())
    if (ts.isNewExpression(node) && node.expression.getText() === 'Date' && !node.arguments?.length)
      found.push('new Date()')
    if (!isType) ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

describe('src', () => {
  it('takes its time from core/time', () => {
    const others = modulesBelow('src')
      .filter(({ path }) => !path.startsWith(CLOCK))
      .filter((module) => timesIn(module).length > 0)
      .map(({ path }) => path)
    expect(others.sort()).toEqual(Object.keys(REAL_TIME).sort())
  })
})
