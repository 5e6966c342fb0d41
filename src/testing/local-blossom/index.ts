import type { LocalBlossom } from './interface.js'
import { type LocalBlossomOptions, readOptions } from './options.js'
import { Server } from './server.js'

export type { ErrorShape } from './errors.js'
export type { Fault } from './faults.js'
export type { LocalBlossom } from './interface.js'
export type { LocalBlossomOptions, PerRequest } from './options.js'
export type { LocalBlossomRequest } from './record.js'

/**
 * Starts a real HTTP server on this machine that speaks the wire of the Pollinations gateway
 * (documentation of 2026-11): chat (streamed or not), text, images, speech, embeddings, models and
 * balance, with its rules for keys, limits and repeated requests, and faults on demand.
 *
 * Equal questions get equal answers: text depends on model, messages and seed only. Tokens are
 * words: a run of characters that are not white space is one, and each part of a message that is
 * not text another. Pictures are PNGs of at most 128 pixels a side, sound is a WAV tone.
 *
 * @throws {ConfigError} naming the option, when one is wrong.
 * @throws {Error} with the system's `code`, such as `EADDRINUSE`, when the port cannot be had.
 * @example
 * await using upstream = await startLocalBlossom({ latencyMs: 20 })
 * upstream.faults.push({ status: 503 }, { status: 503 })
 * const answer = await fetch(`${upstream.url}/text/hello`) // 503, 503, then an answer
 */
export async function startLocalBlossom(options: LocalBlossomOptions = {}): Promise<LocalBlossom> {
  return Server.start(readOptions(options))
}
