import type { SharedJobs } from '../core/index.js'
import type { KeptResult } from './line.js'
import type { NewLine } from './lines.js'
import type { BatchEndpoint, Batches, BatchStatus } from './types.js'

export type { KeptResult } from './line.js'

/** Where batches have what the gateway needs of them beside their public methods. */
export const BATCHES: unique symbol = Symbol.for('blossom-stack.batches') as never

/** The routes that batches may call. */
export const ENDPOINTS = [
  '/v1/chat/completions',
  '/v1/embeddings',
  '/v1/images/generations',
] as const satisfies readonly BatchEndpoint[]

/** What a batch is made of. */
export interface BatchOrder {
  readonly id: string
  readonly owner: string
  readonly endpoint: BatchEndpoint
  /** What is to be kept with it. */
  readonly more?: unknown
}

/** What the gateway uses of batches. */
export interface BatchesInternals {
  readonly jobs: SharedJobs
  readonly keepMs: number
  /** Accepts a batch, whole or not at all. */
  accept(
    order: BatchOrder,
    lines: Iterable<NewLine> | AsyncIterable<NewLine>,
  ): Promise<'added' | 'same' | 'other'>
  /** Keeps a batch whose input was wrong. */
  reject(order: BatchOrder): Promise<void>
  /** What is asked of where batches are kept: a failure is an error with status 503. */
  ask<T>(question: () => Promise<T>): Promise<T>
  statusOf(state: { readonly status: string }): BatchStatus['status']
  /** A line of an output file. */
  toOutputLine(batch: string, result: KeptResult): string
}

/** Whether a value is what `createBatches()` of this copy of the library or another made. */
export function isBatches(value: unknown): value is Batches & { [BATCHES]: BatchesInternals } {
  return typeof value === 'object' && value !== null && BATCHES in value
}
