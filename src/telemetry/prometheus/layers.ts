import type { LayerEntry } from '../../core/index.js'
import type { BreakerStats } from '../../layers/breaker/index.js'
import type { PoolStats } from '../../layers/pool/index.js'
import type { QueueStats } from '../../layers/queue/index.js'
import type { RateLimitStats } from '../../layers/rate-limit/index.js'
import type { Family, Labels, Sample } from './families.js'

const STATES = ['closed', 'open', 'half-open'] as const

/** Metrics from the stats of the layers, which are read at each scrape. */
export function layerFamilies(layers: () => readonly LayerEntry[]): Family[] {
  const of =
    <Stats>(kind: string, samples: (stats: Stats, labels: Labels) => readonly Sample[]) =>
    (): Sample[] =>
      layers()
        .filter((layer) => layer.kind === kind)
        .flatMap(({ name, stats }) => samples(stats() as Stats, { layer: name }))
  const inQueue = (name: 'running' | 'waiting' | 'concurrency', help: string): Family => ({
    name: `blossom_queue_${name}`,
    help,
    type: 'gauge',
    samples: of<QueueStats>('queue', (stats, labels) => [{ labels, value: stats[name] }]),
  })
  const ofLimits = (name: 'admitted' | 'rejected', help: string): Family => ({
    name: `blossom_limit_${name}_total`,
    help,
    type: 'counter',
    samples: of<RateLimitStats>('rateLimit', (stats, labels) => [{ labels, value: stats[name] }]),
  })
  return [
    inQueue('running', 'Calls in progress.'),
    inQueue('waiting', 'Calls waiting in the queue.'),
    inQueue('concurrency', 'Maximum number of calls in progress.'),
    {
      name: 'blossom_breaker_state',
      help: 'State of a breaker: 1 for the current state, 0 for others; with several circuits, the worst.',
      type: 'gauge',
      samples: of<BreakerStats>('breaker', (stats, labels) =>
        STATES.map((state) => ({
          labels: { ...labels, state },
          value: stats.state === state ? 1 : 0,
        })),
      ),
    },
    {
      name: 'blossom_pool_active',
      help: 'Connections in use, by index of the pool member.',
      type: 'gauge',
      samples: of<PoolStats>('pool', ({ members }, labels) =>
        members.map(({ active }, member) => ({
          labels: { ...labels, member: String(member) },
          value: active,
        })),
      ),
    },
    {
      name: 'blossom_pool_waiting',
      help: 'Calls waiting for a connection of any pool member.',
      type: 'gauge',
      samples: of<PoolStats>('pool', ({ waiting }, labels) => [{ labels, value: waiting }]),
    },
    ofLimits('admitted', 'Calls admitted by a limit.'),
    ofLimits('rejected', 'Calls rejected by a limit.'),
  ]
}
