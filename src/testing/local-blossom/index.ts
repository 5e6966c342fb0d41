import type { LocalBlossom } from './interface.js'
import { type LocalBlossomOptions, readOptions } from './options.js'
import { Server } from './server.js'

export type { ErrorShape } from './errors.js'
export type { Fault } from './faults.js'
export type { LocalBlossom } from './interface.js'
export type { LocalBlossomOptions, PerRequest } from './options.js'
export type { LocalBlossomRequest } from './record.js'

/**
 * Starts a real HTTP server on this machine that behaves like the Pollinations gateway
 * (documentation of 2026-11): chat (streamed or not), text, images, speech, embeddings, models and
 * balance, with its rules for keys, limits and repeated requests. It can also produce faults on
 * demand.
 *
 * Equal questions get equal answers: text depends only on model, messages and seed. Tokens are
 * words: each run of characters without white space counts as one, as does each part of a message
 * that is not text. Pictures are PNGs of at most 128 pixels per side; sound is a WAV tone.
 *
 * @throws {ConfigError} (`CONFIG`) that names the invalid option
 * @throws {Error} with the system's `code`, such as `EADDRINUSE`, when it cannot listen on the port
 * @example
 * await using upstream = await startLocalBlossom({ latencyMs: 20 })
 * upstream.faults.push({ status: 503 }, { status: 503 })
 * const answer = await fetch(`${upstream.url}/text/hello`) // 503, 503, then an answer
 */
export async function startLocalBlossom(options: LocalBlossomOptions = {}): Promise<LocalBlossom> {
  return Server.start(readOptions(options))
}
