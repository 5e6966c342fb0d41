/** Who waits asks at least so often; after the longer time it is gone. Milliseconds. */
const GONE_MS = 1_000

// KEYS: the slots that are taken, by when their leases end; the line of those who wait, by when their
// turn was or they came; when each of them has asked last. Times are Redis' own, in milliseconds.

const LINE = `
local slots, line, seen = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - ${GONE_MS})) do
  redis.call('ZREM', line, gone)
  redis.call('ZREM', seen, gone)
end
local function text(number) return string.format('%.3f', number) end
local function keep(slot, ms)
  redis.call('ZADD', slots, text(now + ms), slot)
  if ms > redis.call('PTTL', slots) then redis.call('PEXPIRE', slots, ms) end
end
local function leave(who)
  redis.call('ZREM', line, who)
  redis.call('ZREM', seen, who)
end
local function first(count)
  if count <= 0 then return {} end
  return redis.call('ZRANGE', line, 0, count - 1)
end
`

/**
 * Takes a slot, unless none is free beside those for whoever is ahead in the line. ARGV: the slot,
 * how many there are, its lease, who asks, and how many calls of it wait; 0: it stays out of the
 * line. Returns 1 or 0, then those of the line who may take what is free.
 */
export const TAKE = `${LINE}
local limit, ms, who, waiting = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local free = limit - redis.call('ZCARD', slots)
local ahead = redis.call('ZRANK', line, who) or redis.call('ZCARD', line)
local taken = 0
if free > ahead then
  keep(ARGV[1], ms)
  taken, free = 1, free - 1
  -- Its next turn comes after those of the others.
  if waiting > 0 then leave(who) end
  waiting = waiting - 1
end
if waiting > 0 then
  redis.call('ZADD', line, 'NX', text(now), who)
  redis.call('ZADD', seen, text(now), who)
  redis.call('PEXPIRE', line, ${2 * GONE_MS})
  redis.call('PEXPIRE', seen, ${2 * GONE_MS})
end
return {taken, unpack(first(free))}
`

/** Gives slots back. ARGV: those. Returns those of the line who may take them. */
export const GIVE_BACK = `${LINE}
return first(redis.call('ZREM', slots, unpack(ARGV)))
`

/** Keeps slots, also those that are not known. ARGV, for each: the slot, its lease. */
export const KEEP = `${LINE}
for i = 1, #ARGV, 2 do keep(ARGV[i], tonumber(ARGV[i + 1])) end
return 0
`

/** Leaves the line. ARGV: who. Returns who is the first of it now, as a slot may have been kept free. */
export const LEAVE = `${LINE}
leave(ARGV[1])
return first(1)
`
