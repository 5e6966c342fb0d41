import {
  BARE,
  BATCH_BY_HAND,
  BREAKER,
  BY_HAND,
  BYTES,
  CLIENT_HIT,
  DIRECT,
  ESTIMATED,
  GROUPS,
  HIT,
  HONO,
  IN_ORDER,
  LIBRARY,
  NODE,
  NOOP,
  OURS,
  PIPE,
  PLAIN_LIMIT,
  PORTKEY,
  RAW,
  REFUSAL,
  SHORT_LINE,
  SLOT,
  SOCKET,
  UNTOLD,
} from './contenders/names.js'
import { atLeast, atMost, type Goal, goal, Run, type Test } from './goal.js'
import { CPU, type Results, short, times } from './table.js'

const OTHERS = [BY_HAND, 'cockatiel', '@pollinations/sdk', 'openai', 'ai (Vercel)']
const POLICIES = [BY_HAND, 'cockatiel', '@git-stunts/alfred', 'llm-retry-kit']

export function goalsOf(results: Results): Goal[] {
  const run = new Run(results)
  return [
    calls(run, ''),
    calls(run, '-signal'),
    ...inProcess(run),
    failures(run),
    ...hits(run),
    ...streams(run),
    ...batch(run),
    ...overload(run),
    ...gateway(run),
    ...start(run),
  ]
}

function calls(run: Run, signal: '' | '-signal'): Goal {
  const ratios = [16, 64].map((width) => run.ratio(`calls.${width}${signal}`, OURS))
  const costs = [16, 64].map((width) => run.ratio(`calls.${width}${signal}`, OURS, CPU))
  const [least, most] = signal === '' ? [0.95, 1.1] : [1, 1.05]
  return goal(
    `JSON calls/s through the full stack, 16 and 64 at a time, ${signal === '' ? 'no signal' : 'a fresh signal each'}`,
    `≥ ${least} × undici's request(), CPU ≤ ${most} ×`,
    `${ratios.map(times).join(' and ')} ×, CPU ${costs.map(times).join(' and ')} ×`,
    [
      ...ratios.map((ratio) => [ratio, atLeast(least)] as Test),
      ...costs.map((cost) => [cost, atMost(most)] as Test),
    ],
    run.peers((name) => run.ratio(`calls.16${signal}`, name), ...OTHERS),
  )
}

function inProcess(run: Run): Goal[] {
  const plain = run.added('in-process', OURS, NOOP)
  const bytes = run.added('in-process', OURS, NOOP, BYTES)
  const signalled = run.value('in-process.signal', OURS) - run.value('in-process', NOOP)
  const key = run.value('hits.100', HIT)
  const layers = ['timeout', 'retry', 'breaker', 'queue', 'pool'].map(
    (name) => [name, run.added('in-process.layers', name, BARE)] as const,
  )
  const keyed = ['cache', 'dedupe'].map(
    (name) => [name, run.added('in-process.layers', name, BARE)] as const,
  )
  return [
    goal(
      'The full stack around a no-op, a deadline on every call',
      '≤ 3 µs and 3.3 kB a call',
      `${short(plain)} µs, ${short(bytes / 1_000)} kB`,
      [
        [plain, atMost(3)],
        [bytes, atMost(3_300)],
      ],
      run.peers((name) => run.added('in-process', name, NOOP), ...POLICIES),
    ),
    goal(
      'The same with a fresh signal, the making of it included',
      '≤ 8 µs',
      `${short(signalled)} µs`,
      [[signalled, atMost(8)]],
      run.peers(
        (name) => run.value('in-process.signal', name) - run.value('in-process', NOOP),
        ...POLICIES,
      ),
    ),
    goal(
      'Each layer around a no-op',
      '≤ 0.5 µs; cache and dedupe: and the key',
      [...layers, ...keyed].map(([name, value]) => `${name} ${short(value)}`).join(', '),
      [
        ...layers.map(([, value]) => [value, atMost(0.5)] as Test),
        ...keyed.map(([, value]) => [value - key, atMost(0.5)] as Test),
      ],
    ),
  ]
}

function failures(run: Run): Goal {
  const costs = [100, 10_000, 50_000].map((calls) => run.value(`failures.${calls}`, OURS))
  const [few = Number.NaN, , many = Number.NaN] = costs
  const others = run.peers(
    (name) => run.value('failures.50000', name),
    'opossum',
    'cockatiel',
    BREAKER,
  )
  return goal(
    'A failed call with 100, 10,000 and 50,000 calls in the window',
    '≤ 10 µs, flat',
    `${costs.map(short).join(', ')} µs`,
    // Three rounds of some hundred microseconds are never equal.
    [...costs.map((cost) => [cost, atMost(10)] as Test), [many / few, atMost(1.5)]],
    others === '' ? '' : `at 50,000, alone: ${others} µs`,
  )
}

function hits(run: Run): Goal[] {
  const [small, large] = [run.value('hits.100', HIT), run.value('hits.8000', HIT)]
  const equal = run.value('hits.equal', OURS)
  const rest = [100, 8_000].map(
    (size) => `${short(run.value(`hits.${size}`, CLIENT_HIT))} µs through the client`,
  )
  return [
    goal(
      'A cache hit with its key, 100 and 8,000 characters',
      '≤ 1 and 8 µs',
      `${short(small)} and ${short(large)} µs`,
      [
        [small, atMost(1)],
        [large, atMost(8)],
      ],
      rest.join(', '),
    ),
    goal(
      '100 equal calls at once',
      '1 call upstream',
      `${short(equal)}`,
      [[equal, (value) => value === 1]],
      run.peers((name) => run.value('hits.equal', name), RAW, BY_HAND),
    ),
  ]
}

function streams(run: Run): Goal[] {
  const [ratio, cost] = [run.ratio('streams', OURS), run.ratio('streams', OURS, CPU)]
  const first = run.added('first-text', OURS, RAW)
  const sent = run.ratio('slow-reader', OURS)
  const [socket, slot] = [
    run.value('slow-reader', OURS, SOCKET),
    run.value('slow-reader', OURS, SLOT),
  ]
  return [
    goal(
      'Stream chunks/s through the full stack, 16 streams',
      "≥ 1.05 × undici's request(), CPU ≤ 0.9 × (stretch: 1.15 ×)",
      `${times(ratio)} ×, CPU ${times(cost)} ×`,
      [
        [ratio, atLeast(1.05)],
        [cost, atMost(0.9)],
      ],
      run.peers((name) => run.ratio('streams', name), ...OTHERS),
    ),
    goal(
      'First text of a stream, added to undici',
      '≤ 0.02 ms',
      `${short(first)} ms`,
      [[first, atMost(0.02)]],
      run.peers((name) => run.added('first-text', name, RAW), ...OTHERS),
    ),
    goal(
      'Slow reader: what upstream can send; socket and slot free after he leaves',
      '≤ 1.1 × undici, 100 ms',
      `${times(sent)} ×, ${short(socket)} and ${short(slot)} ms`,
      [
        [sent, atMost(1.1)],
        [socket, atMost(100)],
        [slot, atMost(100)],
      ],
      run.peers((name) => run.ratio('slow-reader', name), ...OTHERS),
    ),
  ]
}

function batch(run: Run): Goal[] {
  const [order, estimated] = [run.ratio('batch', IN_ORDER), run.ratio('batch', ESTIMATED)]
  const beside = [
    run.peers((name) => run.ratio('batch', name), BATCH_BY_HAND),
    run.peers((name) => run.ratio('batch.groups', name), GROUPS),
  ].filter((text) => text !== '')
  return [
    goal(
      'A batch of 500 in input order, × its lower bound',
      '≤ 1.06 ×',
      `${times(order)} ×`,
      [[order, atMost(1.06)]],
      beside.join(', '),
    ),
    goal('The same with an estimate (stretch)', '≤ 1.03 ×', `${times(estimated)} ×`, [
      [estimated, atMost(1.03)],
    ]),
  ]
}

function overload(run: Run): Goal[] {
  const goodput = (name: string) => [1, 2, 5].map((load) => run.value(`overload.${load}x`, name))
  const [one = Number.NaN, two = Number.NaN, five = Number.NaN] = goodput(OURS)
  const refusals = [2, 5].map((load) => run.value(`overload.${load}x`, OURS, REFUSAL))
  const others = [PLAIN_LIMIT, BY_HAND, SHORT_LINE]
    .filter((name) => Number.isFinite(run.value('overload.1x', name)))
    .map((name) => `${name} ${goodput(name).map(times).join(' / ')}`)
  const told = goodput(UNTOLD)
  const untold = goal(
    'The same when told four times the capacity (stretch)',
    '≥ 0.85',
    told.map(times).join(' / '),
    told.map((value) => [value, atLeast(0.85)]),
  )
  return [
    goal(
      'Goodput at 1 ×, 2 × and 5 × the load that upstream can bear; refusals after',
      '≥ 0.98 / 0.95 / 0.95 of capacity, 2 ms',
      `${[one, two, five].map(times).join(' / ')}, ${refusals.map(short).join(' and ')} ms`,
      [
        [one, atLeast(0.98)],
        [two, atLeast(0.95)],
        [five, atLeast(0.95)],
        ...refusals.map((ms) => [ms, atMost(2)] as Test),
      ],
      others.join(', '),
    ),
    untold,
  ]
}

function gateway(run: Run): Goal[] {
  return [NODE, HONO].map((name) => {
    const added =
      run.added('gateway.latency', name, DIRECT) / run.added('gateway.latency', PIPE, DIRECT)
    const rate = run.value('gateway.calls', name) / run.value('gateway.calls', PIPE)
    const chunks = run.value('gateway.streams', name) / run.value('gateway.streams', PIPE)
    const last =
      run.added('gateway.latency', PORTKEY, DIRECT) / run.added('gateway.latency', PIPE, DIRECT)
    const lastRate = run.value('gateway.calls', PORTKEY) / run.value('gateway.calls', PIPE)
    return goal(
      `The gateway in ${name.split(', ')[1]}, beside a pipe that copies bytes: latency added, calls/s, chunks/s`,
      '≤ 1.25 ×, ≥ 0.8 ×, ≥ 0.9 ×',
      `${[added, rate, chunks].map(times).join(' ×, ')} ×`,
      [
        [added, atMost(1.25)],
        [rate, atLeast(0.8)],
        [chunks, atLeast(0.9)],
      ],
      Number.isFinite(last) ? `${PORTKEY} ${times(last)} ×, ${times(lastRate)} ×` : '',
    )
  })
}

function start(run: Run): Goal[] {
  const [ratio, size] = [
    run.ratio('import-and-size.import', LIBRARY),
    run.value('import-and-size.size', LIBRARY),
  ]
  return [
    goal(
      'import in a fresh process; our code, minified and gzipped',
      "≤ 1.25 × undici's, 15 kB",
      `${times(ratio)} ×, ${short(size)} kB`,
      [
        [ratio, atMost(1.25)],
        [size, atMost(15)],
      ],
      run.peers(
        (name) => run.ratio('import-and-size.import', name),
        'cockatiel',
        '@pollinations/sdk',
        'openai',
        'ai (Vercel)',
      ),
    ),
  ]
}

/** As markdown, for the terminal and the README. */
export function goalsTable(results: Results): string {
  const lines = goalsOf(results).map(({ goal, aim, measured, met, beside }) => [
    goal,
    aim,
    measured,
    met === undefined ? '–' : met ? 'yes' : '**no**',
    beside,
  ])
  const head = ['goal', 'aim', 'measured', 'met', 'beside']
  return [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}
