/** Open circuits of one breaker that are kept. */
export const KEPT = 1_000

// KEYS of all but the last: the trial of a circuit, and the hash of those that are open. An entry of
// the hash is when it ends, by Redis' own clock in milliseconds, and the openings in a row.

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local function left(entry) return tonumber(string.match(entry, '^%S+')) - now end
-- By its own clock a process may be early, by as much as the opening was on its way.
local function isOpen(entry) return left(entry) > 100 end
`

/** Keeps that a circuit is open, and ends its trial. ARGV: the circuit, openings, how long. */
export const OPEN = `${NOW}
local ms = tonumber(ARGV[3])
local longest, others = ms, 0
local entries = redis.call('HGETALL', KEYS[2])
for i = 1, #entries, 2 do
  local ms = left(entries[i + 1])
  if ms <= 0 then
    redis.call('HDEL', KEYS[2], entries[i])
  elseif entries[i] ~= ARGV[1] then
    longest, others = math.max(longest, ms), others + 1
  end
end
if others < ${KEPT} then
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f %d', now + ms, ARGV[2]))
  redis.call('PEXPIRE', KEYS[2], math.ceil(longest))
end
return redis.call('DEL', KEYS[1])
`

/** A circuit is closed again. ARGV: the circuit. */
export const CLOSE = `
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
`

/**
 * Takes the trial of a circuit. ARGV: the circuit, who asks, how long. Returns 0, or how long
 * another one has it or the circuit stays open.
 */
export const CLAIM = `${NOW}
local entry = redis.call('HGET', KEYS[2], ARGV[1])
if entry and isOpen(entry) then return math.ceil(left(entry)) end
local ms = math.ceil(tonumber(ARGV[3]))
if redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ms) then return 0 end
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return math.max(1, redis.call('PTTL', KEYS[1])) end
redis.call('PEXPIRE', KEYS[1], ms)
return 0
`

/** Gives a trial back. ARGV: who has it. Returns whether it had. */
export const RELEASE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`

/** KEYS: the hash. Returns, for each circuit that is open: itself, openings, what is left. */
export const READ = `${NOW}
local open = {}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  if isOpen(entries[i + 1]) then
    open[#open + 1] = entries[i]
    open[#open + 1] = string.match(entries[i + 1], '%S+$')
    open[#open + 1] = tostring(math.floor(left(entries[i + 1])))
  end
end
return open
`
