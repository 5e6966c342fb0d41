/** Maximum number of stored open circuits per breaker. */
export const KEPT = 1_000

// KEYS of all scripts but the last: the trial of a circuit, and the hash of open circuits. A value
// in the hash has the end of the opening, in milliseconds on Redis' clock, and the number of
// consecutive openings.

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local function left(entry) return tonumber(string.match(entry, '^%S+')) - now end
-- A process may ask a little early, by the time that the message of the opening took to reach it.
local function isOpen(entry) return left(entry) > 100 end
`

/** Stores an open circuit and ends its trial. ARGV: the circuit, openings, duration. */
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

/** Deletes a circuit that has closed. ARGV: the circuit. */
export const CLOSE = `
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
`

/**
 * Takes the trial of a circuit. ARGV: the circuit, the caller, duration. Returns 0 if taken, else
 * the time for which the circuit stays open or another caller has the trial.
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

/** Releases a trial. ARGV: its holder. Returns 1 if it held the trial, else 0. */
export const RELEASE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`

/** Reads the open circuits. KEYS: the hash. Returns for each: circuit, openings, remaining time. */
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
