import type { FakeClock } from '../../../src/testing/fake-clock.js'
import { drawAdaptive } from './adaptive.js'
import type { Drawn } from './chart.js'
import { drawFairness } from './fairness.js'
import { drawHedging } from './hedging.js'
import { drawOvershoot } from './overshoot.js'

/** The pictures of the pages, by where they are in `src/layers`. */
export const PICTURES: Readonly<Record<string, (clock: FakeClock) => Promise<Drawn>>> = {
  'queue/adaptive.svg': drawAdaptive,
  'queue/fairness.svg': drawFairness,
  'hedge/hedging.svg': drawHedging,
  'rate-limit/overshoot.svg': drawOvershoot,
}
