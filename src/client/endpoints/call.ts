import type { BlossomCallOptions } from '../types.js'
import type { Outgoing } from '../wire/outgoing.js'

/** Sends a request through the client's stack. */
export type Call = <Answer>(request: Outgoing, options: BlossomCallOptions) => Promise<Answer>
