/**
 * Functions of all scripts. A log is a hash and a stream. Each writer that begins the log has a
 * generation. The hash has the newest generation's token, inbox, state (`open`, `closed` to new
 * readers, `ended`, `lost`), end of the lease, and number of written entries. The id of an entry is
 * its generation and its index. Times are in milliseconds on Redis' clock.
 */
const LOG = `
local log, stream, readers = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local function field(name) return redis.call('HGET', log, name) end
local function isHeld()
  local state = field('state')
  return (state == 'open' or state == 'closed') and tonumber(field('until')) > now
end
local function reading()
  redis.call('ZREMRANGEBYSCORE', readers, '-inf', text(now))
  return redis.call('ZRANGE', readers, 0, -1)
end
local function part(generation, from, inbox, count)
  redis.call('ZADD', readers, text(now + 15000), inbox)
  redis.call('PEXPIRE', readers, 60000)
  local held, state = 0, ''
  if field('generation') == generation then
    state = field('state')
    if isHeld() then held = 1 end
  end
  local reply = {generation, field('inbox') or '', held, state, tonumber(field('written') or '0'), -1}
  local found = redis.call(
    'XRANGE', stream, generation .. '-' .. from, generation, 'COUNT', count
  )
  for i, entry in ipairs(found) do
    if i == 1 then reply[6] = tonumber(string.match(entry[1], '-(%d+)$')) end
    reply[#reply + 1] = entry[2][1]
    reply[#reply + 1] = entry[2][2]
  end
  return reply
end
`

/**
 * Begins a log as its writer, unless its lease is held. ARGV: token, inbox, duration of the lease,
 * lifetime of the log, maximum number of entries. Returns `writer` and the generation; `full`; or
 * `reader` and a part.
 */
export const CLAIM = `${LOG}
if isHeld() then
  if field('state') == 'closed' then return {'full'} end
  return {'reader', unpack(part(field('generation'), 0, ARGV[2], ARGV[5]))}
end
local before = tonumber(field('generation') or '0')
local generation = math.max(now, before + 1)
-- Keep the previous generation for its readers; delete older ones.
if before > 0 then redis.call('XTRIM', stream, 'MINID', text(before) .. '-0') end
redis.call('DEL', readers)
redis.call('HSET', log, 'generation', text(generation), 'token', ARGV[1], 'inbox', ARGV[2],
  'state', 'open', 'until', text(now + ARGV[3]), 'written', '0')
redis.call('PEXPIRE', log, ARGV[4])
return {'writer', text(generation)}
`

/**
 * Reads a part. ARGV: generation (empty: the newest), index, inbox, maximum number of entries.
 * Returns `none`, or `reader` and a part.
 */
export const READ = `${LOG}
local generation = ARGV[1]
if generation == '' then generation = field('generation') end
if not generation then return {'none'} end
return {'reader', unpack(part(generation, ARGV[2], ARGV[3], ARGV[4]))}
`

/**
 * Appends entries and renews the lease. ARGV: token, duration of the lease, lifetime of the log,
 * state, index of the first entry, first index to keep (-1: all), entries. Entries that are already
 * stored are skipped. Returns `lost`, or `written` and the inboxes of the readers.
 */
export const APPEND = `${LOG}
if field('token') ~= ARGV[1] or field('state') == 'lost' then return {'lost'} end
local generation, written = field('generation'), tonumber(field('written'))
local last = ARGV[4] == 'ended' and #ARGV or 0
for i = 7, #ARGV do
  local place = ARGV[5] + i - 7
  if place >= written then
    redis.call('XADD', stream, generation .. '-' .. text(place), i == last and 'last' or 'entry', ARGV[i])
    written = place + 1
  end
end
if ARGV[6] ~= '-1' then redis.call('XTRIM', stream, 'MINID', generation .. '-' .. ARGV[6]) end
redis.call('HSET', log, 'state', ARGV[4], 'written', text(written), 'until', text(now + ARGV[2]))
redis.call('PEXPIRE', log, ARGV[3])
redis.call('PEXPIRE', stream, ARGV[3])
return {'written', unpack(reading())}
`

/**
 * Releases the lease. ARGV: token, and `1` to do so only without readers. Returns `given` or
 * `kept`, and the inboxes of the readers.
 */
export const ABANDON = `${LOG}
if field('token') ~= ARGV[1] or field('state') == 'ended' then return {'given'} end
local inboxes = reading()
if ARGV[2] == '1' and #inboxes > 0 then return {'kept', unpack(inboxes)} end
redis.call('HSET', log, 'state', 'lost')
return {'given', unpack(inboxes)}
`

/** Removes a reader. ARGV: its inbox. Returns the writer's inbox, or an empty string. */
export const LEAVE = `${LOG}
redis.call('ZREM', readers, ARGV[1])
return {field('inbox') or ''}
`

/**
 * Returns the writer's inbox, an empty string if the log has ended, or nothing if there is none.
 */
export const FIND = `${LOG}
if not field('inbox') then return {} end
return {isHeld() and field('inbox') or ''}
`

/** Puts a message into an inbox. KEYS: the inbox. ARGV: the message. */
export const POST = `
redis.call('XADD', KEYS[1], 'MAXLEN', '~', '1000', '*', 'm', ARGV[1])
redis.call('PEXPIRE', KEYS[1], 60000)
return {}
`
