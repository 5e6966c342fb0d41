import { afterEach, describe, expect, it, vi } from 'vitest'
import { hookFailed, runHook, warn } from '../../../src/core/index.js'
import { catchWarnings, named } from '../../support/warnings.js'
import { turn } from '../../support/watch.js'

afterEach(() => {
  vi.restoreAllMocks()
})

describe('warn', () => {
  it('emits a process warning of its own type', () => {
    const emit = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    warn('a first sentence')
    expect(emit).toHaveBeenCalledExactlyOnceWith('a first sentence', {
      type: 'BlossomStackWarning',
    })
  })

  it('prints each text once, or every time when told to', () => {
    const warnings = catchWarnings()
    for (let i = 0; i < 3; i++) warn('once')
    for (let i = 0; i < 3; i++) warn('always', { once: false })
    expect(warnings).toEqual(['once', 'always', 'always', 'always'])
  })
})

describe('runHook', () => {
  it('reports a sync or async error by its type only', async () => {
    const warnings = catchWarnings()
    runHook('onRetry()', () => {
      throw named('SyncHook', 'sk_secret')
    })
    runHook('onRetry()', async () => {
      throw named('AsyncHook', 'sk_secret')
    })
    runHook('onRetry()', () => {
      throw 'sk_secret'
    })
    await turn()
    expect(warnings).toEqual([
      'onRetry() threw SyncHook. The call continued.',
      'onRetry() threw string. The call continued.',
      'onRetry() threw AsyncHook. The call continued.',
    ])
  })

  it('is silent for hooks that succeed', async () => {
    const warnings = catchWarnings()
    runHook('fine()', () => 5)
    runHook('fine()', async () => {})
    await turn()
    expect(warnings).toEqual([])
  })
})

describe('hookFailed', () => {
  it('names the hook', () => {
    const warnings = catchWarnings()
    hookFailed('onStateChange()', new RangeError('x'))
    expect(warnings).toEqual(['onStateChange() threw RangeError. The call continued.'])
  })
})
