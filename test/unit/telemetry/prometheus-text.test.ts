import { expect, it } from 'vitest'
import { parsePrometheus } from '../../support/prometheus-text.js'

const family = (type: string, ...samples: string[]) =>
  `# HELP a_total Some.\n# TYPE a_total ${type}\n${samples.map((line) => `${line}\n`).join('')}`
const histogram = (...samples: string[]) =>
  family('histogram', ...samples).replaceAll('a_total', 'a')

it('the strict parser of these tests accepts valid text', () => {
  expect(
    parsePrometheus(family('counter', 'a_total{x="1\\\\\\"\\n",y=""} 2', 'a_total 1e-7')),
  ).toEqual([
    {
      name: 'a_total',
      help: 'Some.',
      type: 'counter',
      samples: [
        { name: 'a_total', labels: { x: '1\\"\n', y: '' }, value: 2 },
        { name: 'a_total', labels: {}, value: 1e-7 },
      ],
    },
  ])
  parsePrometheus(histogram('a_bucket{le="1"} 1', 'a_bucket{le="+Inf"} 2', 'a_sum 3', 'a_count 2'))
})

it.each([
  ['no end of its last line', family('counter', 'a_total 1').slice(0, -1)],
  ['an empty line', family('counter', '', 'a_total 1')],
  ['a series twice', family('counter', 'a_total{x="1",y="2"} 1', 'a_total{y="2",x="1"} 2')],
  ['a label twice', family('counter', 'a_total{x="1",x="2"} 1')],
  ['a raw quote', family('counter', 'a_total{x="a"b"} 1')],
  ['a raw backslash', family('counter', 'a_total{x="a\\b"} 1')],
  ['a comma too many', family('counter', 'a_total{x="a",} 1')],
  ['no value', family('counter', 'a_total{x="a"}')],
  ['NaN', family('counter', 'a_total NaN')],
  ['a negative counter', family('counter', 'a_total -1')],
  ['a gauge called _total', family('gauge', 'a_total 1')],
  ['an unknown type', family('summary', 'a_total 1')],
  ['a sample of another family', family('counter', 'b_total 1')],
  ['a family twice', family('counter') + family('counter')],
  ['a TYPE without HELP', '# TYPE a_total counter\n'],
  ['a HELP without TYPE', '# HELP a_total Some.\na_total 1\n'],
  [
    'buckets that fall',
    histogram('a_bucket{le="1"} 2', 'a_bucket{le="+Inf"} 1', 'a_sum 1', 'a_count 1'),
  ],
  ['no last bucket', histogram('a_bucket{le="1"} 2', 'a_sum 1', 'a_count 2')],
  ['a wrong count', histogram('a_bucket{le="+Inf"} 1', 'a_sum 1', 'a_count 2')],
  ['no sum', histogram('a_bucket{le="+Inf"} 1', 'a_count 1')],
])('the strict parser of these tests refuses %s', (_what, text) => {
  expect(() => parsePrometheus(text)).toThrow()
})
