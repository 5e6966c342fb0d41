/** Shared by the scripts. Times are in milliseconds on Redis' clock. */
const TIME = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%d', number) end
`

/** Lifetime of the parts of an unfinished upload. Milliseconds. */
const UPLOAD_MS = 3600000

/**
 * Adds lines to a batch that is being uploaded. KEYS: its keys and its texts. ARGV: key and text of
 * each line.
 */
export const ADD_LINES = `
for i = 1, #ARGV, 2 do
  redis.call('RPUSH', KEYS[1], ARGV[i])
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ${UPLOAD_MS})
redis.call('PEXPIRE', KEYS[2], ${UPLOAD_MS})
`

/**
 * Accepts a batch. KEYS: the batch, its keys and texts, the uploaded keys and texts, the owner's
 * list, the open batches. ARGV: id, owner, about, digest, total, expireMs, keepMs, status. Returns
 * `added`, or if the batch exists `same` (equal digest) or `other`.
 */
export const ACCEPT = `${TIME}
local known = redis.call('HGET', KEYS[1], 'digest')
if known then
  redis.call('UNLINK', KEYS[4], KEYS[5])
  if known == ARGV[4] then return 'same' else return 'other' end
end
if ARGV[5] ~= '0' then
  redis.call('RENAME', KEYS[4], KEYS[2])
  redis.call('RENAME', KEYS[5], KEYS[3])
  redis.call('PERSIST', KEYS[2])
  redis.call('PERSIST', KEYS[3])
end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'owner', ARGV[2], 'about', ARGV[3], 'digest', ARGV[4],
  'total', ARGV[5], 'createdAt', whole(now), 'expiresAt', whole(now + ARGV[6]), 'keepMs', ARGV[7],
  'status', ARGV[8], 'completed', 0, 'failed', 0, 'unrun', 0, 'completedBytes', 0, 'failedBytes', 0)
redis.call('ZADD', KEYS[6], now, ARGV[1])
if ARGV[8] == 'preparing' then
  redis.call('ZADD', KEYS[7], now, ARGV[1])
else
  redis.call('HSET', KEYS[1], 'endedAt', whole(now))
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
end
return 'added'
`

/** Reads a batch. KEYS: the batch. Returns Redis' time, and the fields with their values. */
export const GET = `${TIME}
return {whole(now), redis.call('HGETALL', KEYS[1])}
`

/**
 * Reads a page of a list, each entry with its fields and values. KEYS: the list. ARGV: prefix of
 * the entries' keys, size of the page, order, and the time and id of the entry before the page, if
 * any.
 */
export const LIST = `
local prefix, limit, reversed = ARGV[1], tonumber(ARGV[2]), ARGV[3] == 'reversed'
local at, after = ARGV[4], ARGV[5]
local found, offset = {}, 0
while #found < limit do
  local members
  if reversed then
    members = redis.call('ZRANGEBYSCORE', KEYS[1], at or '-inf', '+inf', 'WITHSCORES', 'LIMIT', offset, 100)
  else
    members = redis.call('ZREVRANGEBYSCORE', KEYS[1], at or '+inf', '-inf', 'WITHSCORES', 'LIMIT', offset, 100)
  end
  if #members == 0 then break end
  local gone = {}
  for i = 1, #members, 2 do
    local id = members[i]
    local isBefore = false
    if at and tonumber(members[i + 1]) == tonumber(at) then
      if reversed then isBefore = id <= after else isBefore = id >= after end
    end
    if not isBefore and #found < limit then
      local fields = redis.call('HGETALL', prefix .. id)
      if #fields == 0 then gone[#gone + 1] = id else found[#found + 1] = fields end
    end
  end
  for _, id in ipairs(gone) do redis.call('ZREM', KEYS[1], id) end
  offset = offset + #members / 2 - #gone
end
return found
`

/**
 * Starts a line. KEYS: the batch, its texts, the run counts of its lines, its finished lines. ARGV:
 * the line's key, and the maximum number of runs. Returns `run` with owner, about and text if the
 * line is to run, else the reason why not: `gone`, `done`, `lost`, `cancelled` or `expired`.
 */
export const BEGIN = `${TIME}
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return {'gone'} end
if redis.call('SISMEMBER', KEYS[4], ARGV[1]) == 1 then return {'done'} end
if status == 'cancelling' then return {'cancelled'} end
if status ~= 'expiring' and now >= tonumber(redis.call('HGET', KEYS[1], 'expiresAt')) then
  status = 'expiring'
  redis.call('HSET', KEYS[1], 'status', status, 'closingAt', whole(now))
end
if status == 'expiring' then return {'expired'} end
local text = redis.call('HGET', KEYS[2], ARGV[1])
if not text then return {'lost'} end
if redis.call('HINCRBY', KEYS[3], ARGV[1], 1) > tonumber(ARGV[2]) then return {'lost'} end
local known = redis.call('HMGET', KEYS[1], 'owner', 'about')
return {'run', known[1], known[2], text}
`

/** Uncounts a run of a line that is returned to the queue. KEYS: the run counts. ARGV: its key. */
export const PUT_BACK = `
if redis.call('HINCRBY', KEYS[1], ARGV[1], -1) <= 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end
`

/**
 * Stores results, each once, and ends the batch with the last one. KEYS: the batch, its keys,
 * texts, run counts, finished lines, results of completed and of other lines, the open batches.
 * ARGV: `waiting` to skip lines that are running, or empty; then for each result: key, kind, text,
 * bytes.
 */
export const FINISH = `${TIME}
local batch, keys, texts, begun, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local status = redis.call('HGET', batch, 'status')
if not status then return end
local onlyWaiting = ARGV[1] == 'waiting'
for i = 2, #ARGV, 4 do
  local key, kind, text, bytes = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local runs = onlyWaiting and redis.call('HGET', begun, key) or false
  if not runs and redis.call('SADD', done, key) == 1 then
    local of = kind == 'completed' and 'completed' or 'failed'
    redis.call('RPUSH', of == 'completed' and KEYS[6] or KEYS[7], text)
    redis.call('HINCRBY', batch, kind, 1)
    redis.call('HINCRBY', batch, of .. 'Bytes', bytes)
    redis.call('HDEL', texts, key)
    redis.call('HDEL', begun, key)
  end
end
local counts = redis.call('HMGET', batch, 'total', 'completed', 'failed', 'unrun', 'endedAt', 'keepMs', 'id')
if counts[5] or counts[2] + counts[3] + counts[4] < tonumber(counts[1]) then return end
local ended = 'completed'
if status == 'cancelling' then ended = 'cancelled' elseif status == 'expiring' then ended = 'expired' end
redis.call('HSET', batch, 'status', ended, 'endedAt', whole(now))
redis.call('ZREM', KEYS[8], counts[7])
redis.call('UNLINK', texts, begun, keys)
for _, key in ipairs({batch, done, KEYS[6], KEYS[7]}) do redis.call('PEXPIRE', key, counts[6]) end
`

/**
 * Prevents further lines of a batch from starting. KEYS: the batch. ARGV: `cancelling` or
 * `expiring`.
 */
export const CLOSE = `${TIME}
local status = redis.call('HGET', KEYS[1], 'status')
if status == 'preparing' or status == 'running' then
  redis.call('HSET', KEYS[1], 'status', ARGV[1], 'closingAt', whole(now))
  return ARGV[1]
end
return status
`

/** Marks a batch as running when all its lines are enqueued. KEYS: the batch. */
export const PREPARED = `${TIME}
if redis.call('HGET', KEYS[1], 'status') == 'preparing' then
  redis.call('HSET', KEYS[1], 'status', 'running', 'startedAt', whole(now))
end
`

/**
 * Finds lines without a result. KEYS: the batch's keys, and its finished lines. ARGV: indices of
 * the first and last line. Returns the key of each line, or an empty string if it has a result.
 */
export const UNDONE = `
local keys = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
for i, key in ipairs(keys) do
  if redis.call('SISMEMBER', KEYS[2], key) == 1 then keys[i] = '' end
end
return keys
`

/** Reads results. KEYS: the list. ARGV: indices of the first and the last. */
export const RESULTS = `
return redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
`

/** Deletes the results of an ended batch. KEYS: the batch, and the list. ARGV: their kind. */
export const DROP = `
if redis.call('HEXISTS', KEYS[1], 'endedAt') == 1 then
  redis.call('UNLINK', KEYS[2])
  redis.call('HSET', KEYS[1], 'dropped:' .. ARGV[1], '1')
end
`

/**
 * Lists open batches. KEYS: the list. ARGV: prefix of their keys. Returns Redis' time, and for each
 * batch: id, status, total, number of finished lines, creation and expiry.
 */
export const OPEN = `${TIME}
local found = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, 999)) do
  local batch = redis.call('HMGET', ARGV[1] .. id, 'status', 'total', 'completed', 'failed', 'unrun',
    'createdAt', 'expiresAt')
  if batch[1] then
    found[#found + 1] = {id, batch[1], batch[2], whole(batch[3] + batch[4] + batch[5]), batch[6], batch[7]}
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return {whole(now), found}
`

/** Adds pieces to a file that is being uploaded. KEYS: its pieces. ARGV: the pieces. */
export const ADD_PIECES = `
for _, piece in ipairs(ARGV) do redis.call('RPUSH', KEYS[1], piece) end
redis.call('PEXPIRE', KEYS[1], ${UPLOAD_MS})
`

/**
 * Stores a file. KEYS: the file, its pieces, the uploaded pieces, the owner's list. ARGV: id,
 * owner, about, bytes, keepMs. Returns its fields.
 */
export const KEEP_FILE = `${TIME}
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'owner', ARGV[2], 'about', ARGV[3], 'bytes', ARGV[4],
  'createdAt', whole(now), 'expiresAt', whole(now + ARGV[5]))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('RENAME', KEYS[3], KEYS[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
redis.call('ZADD', KEYS[4], now, ARGV[1])
return redis.call('HGETALL', KEYS[1])
`

/** Deletes a file. KEYS: the file, its pieces. Returns 1 if it existed, else 0. */
export const DELETE_FILE = `
redis.call('UNLINK', KEYS[2])
return redis.call('UNLINK', KEYS[1])
`
