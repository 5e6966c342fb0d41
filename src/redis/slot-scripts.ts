/** A waiting process that has not asked for this long is removed from the line. Milliseconds. */
const GONE_MS = 1_000

// KEYS, all sorted sets: taken slots by the end of their leases; the line of waiting processes by
// the time of their arrival or last turn; the same processes by the time at which they last asked.
// Times are in milliseconds on Redis' clock.

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
 * Takes a slot if there are more free slots than processes ahead in the line. ARGV: the slot, the
 * number of slots, the lease, the process, and the number of its waiting calls (0: do not join the
 * line). Returns 1 or 0, then the processes in the line that may take free slots.
 */
export const TAKE = `${LINE}
local limit, ms, who, waiting = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local free = limit - redis.call('ZCARD', slots)
local ahead = redis.call('ZRANK', line, who) or redis.call('ZCARD', line)
local taken = 0
if free > ahead then
  keep(ARGV[1], ms)
  taken, free = 1, free - 1
  -- Move the process to the end of the line.
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

/** Releases slots. ARGV: the slots. Returns the processes in the line that may take them. */
export const GIVE_BACK = `${LINE}
return first(redis.call('ZREM', slots, unpack(ARGV)))
`

/** Renews leases, and adds unknown ones. ARGV, for each: the slot, its lease. */
export const KEEP = `${LINE}
for i = 1, #ARGV, 2 do keep(ARGV[i], tonumber(ARGV[i + 1])) end
return 0
`

/**
 * Leaves the line. ARGV: the process. Returns the first one in the line, which may take its slot.
 */
export const LEAVE = `${LINE}
leave(ARGV[1])
return first(1)
`
