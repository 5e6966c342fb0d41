import { describe, expect, it } from 'vitest'
import { readPause, readReset } from '../../../../src/client/wire/upstream-pause.js'
import { useFakeTimers } from '../../../support/fake-timers.js'

const WALL = Date.UTC(2026, 10, 29, 7, 0, 0)

useFakeTimers({ now: WALL })

describe('readReset', () => {
  it.each([
    ['6m0s', 360_000],
    ['1s', 1_000],
    ['120ms', 120],
    ['1h2m3.5s', 3_723_500],
    ['2d', 172_800_000],
    ['12.5', 12_500],
    ['0', 0],
    [' 30 ', 30_000],
    ['2026-11-29T07:01:00Z', 60_000],
    ['2026-11-29T08:00:30+01:00', 30_000],
    [String(WALL / 1_000 + 90), 90_000],
  ])('reads %s as %i ms', (text, ms) => {
    expect(readReset(text)).toBe(ms)
  })

  it.each([undefined, '', 'soon', '-5', '5x', '1m 5s', '2026-99-99T00:00:00Z', 'm', '1e9', '0x10'])(
    'reads nothing from %o',
    (text) => {
      expect(readReset(text)).toBeUndefined()
    },
  )
})

describe('readPause', () => {
  it('returns the time at which the exhausted limit resets', () => {
    expect(
      readPause({
        'x-ratelimit-limit-requests': '60',
        'x-ratelimit-remaining-requests': '0',
        'x-ratelimit-reset-requests': '1s',
        'x-ratelimit-remaining-tokens': '149984',
        'x-ratelimit-reset-tokens': '6m0s',
      }),
    ).toEqual({ until: performance.now() + 1_000, unit: 'requests' })
  })

  it('returns the latest reset when several limits are exhausted', () => {
    expect(
      readPause({
        'x-ratelimit-remaining-requests': ['0'],
        'x-ratelimit-reset-requests': '1s',
        'x-ratelimit-remaining-input-tokens': '0',
        'x-ratelimit-reset-input-tokens': '2s',
        'x-ratelimit-remaining-images': '0',
        'x-ratelimit-reset-images': '500ms',
      }),
    ).toEqual({ until: performance.now() + 2_000, unit: 'tokens' })
  })

  it.each([
    {},
    { 'x-ratelimit-remaining-requests': '1', 'x-ratelimit-reset-requests': '1s' },
    { 'x-ratelimit-remaining-requests': '0' },
    { 'x-ratelimit-remaining-requests': '', 'x-ratelimit-reset-requests': '1s' },
    { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '0' },
    { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': 'never' },
    { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '2020-01-01T00:00:00Z' },
  ])('returns nothing for %o', (headers) => {
    expect(readPause(headers)).toBeUndefined()
  })
})
