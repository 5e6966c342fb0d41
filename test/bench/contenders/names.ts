/** Undici's plain `request()` comes first: the others are compared with it. */
export const RAW = 'undici request()'
export const DISPATCH = 'undici dispatch()'
export const PLAIN = 'blossom-stack, no layers'
export const OURS = 'blossom-stack, full stack'
export const STANDARD = 'blossom-stack, standard()'
export const BY_HAND = 'packages by hand'

/** Around a function that does nothing. */
export const NOOP = 'the function alone'
export const BARE = 'stack() without layers'

export const BREAKER = 'breaker'
export const HIT = 'cache layer, a new request object each time'
export const SAME = 'cache layer, the same frozen object'
export const CLIENT_HIT = 'blossom-stack, full stack, chat.create()'

export const BOUND = 'lower bound: max(total / 10, longest)'
export const IN_ORDER = 'text.batch, in input order'
export const ESTIMATED = 'text.batch, in input order, with estimate'
export const BATCH_BY_HAND = 'p-queue and undici by hand'
export const GROUPS = 'fixed groups and a pause'

export const UNTOLD = `${OURS}, told four times the capacity`
export const PLAIN_LIMIT = 'undici request() with a time limit'
export const SHORT_LINE = 'cockatiel, 64 may wait'

export const LIBRARY = 'blossom-stack'

export const DIRECT = 'no gateway'
export const PIPE = 'node:http that copies bytes through undici'
export const NODE = 'blossom-stack/http, node:http'
export const HONO = 'blossom-stack/http, Hono'
export const PORTKEY = '@portkey-ai/gateway'

/** Figures beside a table's own. */
export const SOCKET = 'socket free ms'
export const SLOT = 'slot free ms'
export const REFUSAL = 'refusal ms'
export const BYTES = 'bytes/call'
