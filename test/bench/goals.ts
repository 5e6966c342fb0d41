import {
  ADAPTIVE_QUEUE,
  BARE,
  BATCH_BY_HAND,
  BOUND,
  BREAKER,
  BY_HAND,
  BYTES,
  COCKATIEL,
  CORE,
  DIRECT,
  DISPATCH,
  ESTIMATED,
  EVENTS,
  FAIR_QUEUE,
  FALLBACK,
  GROUPS,
  HEDGE,
  HONO,
  HONO_PIPE,
  IN_ORDER,
  JOINED,
  LIBRARY,
  NODE,
  NOOP,
  OPEN_TELEMETRY,
  OPENAI,
  OURS,
  PARSED,
  PIPE,
  PLAIN_LIMIT,
  POLLINATIONS,
  PORTKEY,
  PROMETHEUS,
  QUEUED,
  RAW,
  REFUSAL,
  REPLAYED,
  REQUEST_LIMIT,
  SHORT_LINE,
  SLOT,
  SOCKET,
  TOKEN_LIMIT,
  UNDICI_MODULES,
  UNHEARD,
  UNTOLD,
  VERCEL,
} from './contenders/names.js'
import { atLeast, atMost, type Goal, goal, peers, Run } from './goal.js'
import { CPU, type Results } from './table.js'

const OTHERS = [BY_HAND, COCKATIEL, POLLINATIONS, OPENAI, VERCEL]
const POLICIES = [BY_HAND, COCKATIEL, '@git-stunts/alfred', 'llm-retry-kit']

/** Every goal, held against one run. */
export function goalsOf(results: Results): Goal[] {
  const run = new Run(results)
  return [
    ...calls(run),
    ...inProcess(run),
    ...layers(run),
    failures(run),
    hits(run),
    ...streams(run),
    ...batch(run),
    ...overload(run),
    ...gateway(run),
    ...gatewayStreams(run),
    telemetry(run),
    waiting(run),
    ...start(run),
  ]
}

function calls(run: Run): Goal[] {
  const widths = [16, 64]
  const ratio = (table: string, name = OURS) => run.ratio(`calls.${table}`, name, RAW)
  return [
    goal(
      'JSON calls/s, full stack, × undici request(), 16 and 64 at a time (aim 0.95); CPU',
      [
        ...widths.map((width) => atLeast(0.85, ratio(`${width}`))),
        ...widths.map((width) => atMost(1.25, run.ratio(`calls.${width}`, OURS, RAW, CPU))),
      ],
      peers((name) => ratio('16', name), DISPATCH, ...OTHERS),
    ),
    goal(
      'The same, each with a fresh signal',
      widths.map((width) => atLeast(0.9, ratio(`${width}-signal`))),
      peers((name) => ratio('16-signal', name), DISPATCH, BY_HAND, COCKATIEL),
    ),
  ]
}

function inProcess(run: Run): Goal[] {
  const plain = (name: string) => run.added('in-process', name, NOOP)
  const signalled = (name: string) =>
    run.value('in-process.signal', name) - run.value('in-process', NOOP)
  return [
    goal(
      'Seven layers around a no-op, a deadline on every call',
      [
        atMost(5, plain(OURS), 'µs'),
        atMost(6, run.added('in-process', OURS, NOOP, BYTES) / 1_000, 'kB'),
      ],
      peers(plain, ...POLICIES),
    ),
    goal(
      'The same with a fresh signal, which is made in that time, too',
      [atMost(13, signalled(OURS), 'µs')],
      peers(signalled, ...POLICIES),
    ),
  ]
}

function layers(run: Run): Goal[] {
  // All of it happens in one thread and waits for nobody, so CPU time is what it takes.
  const least = (part: string, name: string) => run.least(`layers.${part}`, name, CPU)
  const added = (name: string) => least('added', name) - least('added', BARE)
  const beside = (part: string, count: string, other: string) => {
    const [layer = ''] = part.split('.')
    const of = (count: string) => least(part, `${layer}, ${count} waiting`)
    return atMost(1.5, of(count) / of(other))
  }
  return [
    goal(
      'One layer around a no-op: rateLimit of requests, of tokens too, fallback, hedge, adaptive queue',
      [REQUEST_LIMIT, TOKEN_LIMIT, FALLBACK, HEDGE, ADAPTIVE_QUEUE].map((name) =>
        atMost(0.7, added(name), 'µs'),
      ),
    ),
    goal('A fair queue around a no-op, 1,000 tenants', [atMost(1.5, added(FAIR_QUEUE), 'µs')]),
    goal(
      'A call that comes to queue, to rateLimit, and is aborted: 100,000 waiting beside 100',
      ['queue.abort', 'rateLimit.abort'].map((part) => beside(part, '100,000', '100')),
    ),
    goal(
      'The same while the first one goes: 100,000 waiting beside 10,000',
      // A hundred are gone before the garbage collector would move them.
      ['queue.go', 'rateLimit.go'].map((part) => beside(part, '100,000', '10,000')),
    ),
  ]
}

function failures(run: Run): Goal {
  const cost = (calls: number, name = OURS) => run.value(`failures.${calls}`, name)
  return goal(
    'A failed call with 100, 10,000 and 50,000 calls in the window; the last beside the first',
    [
      ...[100, 10_000, 50_000].map((calls) => atMost(10, cost(calls), 'µs')),
      // Some hundred microseconds are never equal in two runs.
      atMost(1.5, cost(50_000) / cost(100)),
    ],
    peers((name) => cost(50_000, name), 'opossum', COCKATIEL, BREAKER),
  )
}

const hits = (run: Run): Goal =>
  goal(
    'A hit through the client, 100 and 8,000 characters of answer',
    [atMost(3, run.value('hits.100', OURS), 'µs'), atMost(15, run.value('hits.8000', OURS), 'µs')],
    peers((name) => run.value('hits.8000', name), PARSED, BY_HAND),
  )

function streams(run: Run): Goal[] {
  const rate = (name: string) => run.ratio('streams', name, RAW)
  const first = (name: string) => run.added('first-text', name, RAW)
  const sent = (name: string) => run.ratio('slow-reader', name, RAW)
  return [
    goal(
      'Stream chunks/s, full stack, 16 streams, × undici request(); CPU',
      [atLeast(0.95, rate(OURS)), atMost(1.2, run.ratio('streams', OURS, RAW, CPU))],
      peers(rate, DISPATCH, ...OTHERS),
    ),
    goal(
      'First text of a stream, added to undici request()',
      [atMost(0.05, first(OURS), 'ms')],
      peers(first, DISPATCH, ...OTHERS),
    ),
    goal(
      'Slow reader: what upstream sends, × undici request(); socket and slot free after he leaves',
      [
        atMost(1.1, sent(OURS)),
        atMost(100, run.value('slow-reader', OURS, SOCKET), 'ms'),
        atMost(100, run.value('slow-reader', OURS, SLOT), 'ms'),
      ],
      peers(sent, ...OTHERS),
    ),
  ]
}

function batch(run: Run): Goal[] {
  const ratio = (name: string) => run.ratio('batch', name, BOUND)
  const groups = (name: string) => run.ratio('batch.groups', name, BOUND)
  const others = [peers(ratio, BATCH_BY_HAND), peers(groups, GROUPS)]
  return [
    goal(
      'A batch of 500 in input order, × its lower bound',
      [atMost(1.06, ratio(IN_ORDER))],
      others.filter((text) => text !== '').join(', '),
    ),
    goal('The same with an estimate', [atMost(1.03, ratio(ESTIMATED))]),
  ]
}

function overload(run: Run): Goal[] {
  const goodput = (load: number, name = OURS) => run.value(`overload.${load}x`, name)
  const refusal = (load: number) => run.value(`overload.${load}x`, OURS, REFUSAL)
  return [
    goal(
      'Goodput at 1, 2 and 5 × what upstream can bear, of its capacity; refusals after',
      [
        atLeast(0.98, goodput(1), ''),
        atLeast(0.95, goodput(2), ''),
        atLeast(0.95, goodput(5), ''),
        atMost(2, refusal(2), 'ms'),
        atMost(2, refusal(5), 'ms'),
      ],
      peers((name) => goodput(5, name), PLAIN_LIMIT, BY_HAND, SHORT_LINE),
    ),
    goal(
      'The same goodput when the queue is configured for four times the capacity',
      [1, 2, 5].map((load) => atLeast(0.85, goodput(load, UNTOLD), '')),
    ),
  ]
}

function gateway(run: Run): Goal[] {
  return [
    [NODE, PIPE],
    [HONO, HONO_PIPE],
  ].map(([name = '', pipe = '']) => {
    const latency = (one: string) => run.addedRatio('gateway.latency', one, pipe, DIRECT)
    const calls = (one: string) => run.ratio('gateway.calls', one, pipe)
    return goal(
      `${name}: latency added to a call, calls/s at 32, × the ${pipe}`,
      [atMost(1.5, latency(name)), atLeast(0.75, calls(name))],
      [peers(latency, PORTKEY), peers(calls, PORTKEY)].filter((text) => text !== '').join(', '),
    )
  })
}

function gatewayStreams(run: Run): Goal[] {
  const paced = (name: string, beside: string) => run.ratio('gateway-streams.paced', name, beside)
  const flood = (name: string, beside: string) => run.ratio('gateway-streams.flood', name, beside)
  return [
    goal('Gateway, paced streams: CPU a chunk, × a byte pipe, node:http and Hono', [
      atMost(1.2, paced(NODE, PIPE)),
      atMost(1.4, paced(HONO, HONO_PIPE)),
    ]),
    goal('Gateway, flood: CPU a chunk, × a byte pipe, node:http and Hono', [
      atMost(3, flood(NODE, PIPE)),
      atMost(3, flood(HONO, HONO_PIPE)),
    ]),
    goal("Gateway, a stream from the cache: CPU a chunk, × a live one's", [
      atMost(0.5, flood(REPLAYED, NODE)),
    ]),
    goal(
      "Gateway, 16 joiners of a stream: CPU a delivered chunk, × a live one's, paced and flood",
      [atMost(0.5, paced(JOINED, NODE)), atMost(0.5, flood(JOINED, NODE))],
    ),
  ]
}

function telemetry(run: Run): Goal {
  // All of it happens in one thread and waits for nobody, so CPU time is what it takes.
  const least = (name: string) => run.least('telemetry', name, CPU)
  return goal(
    'Telemetry, full stack around a no-op: OpenTelemetry; Prometheus beyond the events themselves',
    [
      atMost(15, least(OPEN_TELEMETRY) - least(UNHEARD), 'µs'),
      atMost(1, least(PROMETHEUS) - least(EVENTS), 'µs'),
    ],
    peers((name) => least(name) - least(UNHEARD), EVENTS),
  )
}

const waiting = (run: Run): Goal =>
  goal(
    'Memory of a call that waits, full stack',
    [atMost(4_000, run.value('memory.waiting', OURS), 'bytes')],
    peers((name) => run.value('memory.waiting', name), QUEUED, BY_HAND),
  )

function start(run: Run): Goal[] {
  const importing = (name: string) => run.ratio('import-and-size.import', name, 'undici')
  const size = (name: string) => run.value('import-and-size.size', name)
  const sized = Number.isFinite(size(CORE)) ? CORE : LIBRARY
  return [
    goal(
      'import of blossom-stack, × undici',
      [atMost(1.25, importing(LIBRARY))],
      peers(importing, COCKATIEL, POLLINATIONS, OPENAI, VERCEL),
    ),
    goal('import of blossom-stack/core, × undici; modules of undici that it loads', [
      atMost(0.3, importing(CORE)),
      atMost(0, run.value('import-and-size.import', CORE, UNDICI_MODULES), ''),
    ]),
    goal(
      `stack, retry and timeout of ${sized} bundled alone, gzip`,
      [atMost(12, size(sized), 'kB')],
      peers(size, COCKATIEL),
    ),
  ]
}
