import { describe, expect, it } from 'vitest'
import { addAttempts, forkNotes, takeNotes } from '../../../../src/core/index.js'

const notes = () =>
  new Map<string, unknown>([
    ['client', { attempts: 2, requestId: 'a' }],
    ['pool', { member: 1 }],
  ])

describe('the notes of one of several tries', () => {
  it('start as a copy of the existing notes, without attempts', () => {
    expect([...forkNotes(notes())]).toEqual([['pool', { member: 1 }]])
  })

  it('are taken over by the call when the try answers, with all attempts added up', () => {
    const meta = notes()
    takeNotes(
      meta,
      new Map<string, unknown>([
        ['client', { attempts: 1, requestId: 'b' }],
        ['pool', { member: 0 }],
        ['retry', { attempts: 3 }],
      ]),
    )
    expect(Object.fromEntries(meta)).toEqual({
      client: { attempts: 3, requestId: 'b' },
      pool: { member: 0 },
      retry: { attempts: 3 },
    })
  })

  it('can be merged without overwriting existing notes', () => {
    const meta = notes()
    const from = new Map<string, unknown>([
      ['client', { attempts: 1, requestId: 'b' }],
      ['pool', { member: 0 }],
      ['cache', 'miss'],
    ])
    takeNotes(meta, from, { overwrite: false })
    expect(Object.fromEntries(meta)).toEqual({
      client: { attempts: 3, requestId: 'b' },
      pool: { member: 1 },
      cache: 'miss',
    })
  })

  it('contribute only their attempts when another try answers', () => {
    const meta = notes()
    const lost = new Map<string, unknown>([
      ['client', { attempts: 1, requestId: 'b' }],
      ['pool', { member: 0 }],
      ['retry', { attempts: 2 }],
    ])
    addAttempts(meta, lost)
    expect(Object.fromEntries(meta)).toEqual({
      client: { attempts: 3, requestId: 'a' },
      pool: { member: 1 },
      retry: { attempts: 2 },
    })
    expect(lost.get('client')).toEqual({ attempts: 1, requestId: 'b' })
  })
})
