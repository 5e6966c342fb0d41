/**
 * What both scripts know of an account, which is a hash: of a bucket the moment at which it is full
 * again, of a window its start and what has been spent. Times are Redis' own, in milliseconds.
 */
const ACCOUNT = `
local account = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local function text(number) return string.format('%.17g', number) end
local function fullAt(unit)
  return math.max(now, tonumber(redis.call('HGET', account, unit) or '0'))
end
local function keepUntil(moment)
  local ms = math.ceil(moment - now) + 1000
  if ms > redis.call('PTTL', account) then redis.call('PEXPIRE', account, ms) end
end
local function spent(unit, start, ends)
  local known = tonumber(redis.call('HGET', account, unit .. ':start') or '-1')
  if known > start then return nil end
  if known < start then
    redis.call('HDEL', account, unit .. ':warned')
    redis.call('HSET', account, unit .. ':start', text(start), unit .. ':spent', '0')
    keepUntil(ends)
    return 0
  end
  return tonumber(redis.call('HGET', account, unit .. ':spent'))
end
`

/**
 * Takes from all limits of an account or from none. KEYS: the account. ARGV, for each limit: its
 * unit, what the call needs, what it wants, its kind and three numbers. Returns for each: what was
 * given, how long to wait (-1: for ever), and the level.
 */
export const TAKE = `${ACCOUNT}
local refused = false
local orders = {}
for i = 1, #ARGV, 7 do
  local order = {
    unit = ARGV[i], need = tonumber(ARGV[i + 1]), want = tonumber(ARGV[i + 2]), wait = 0,
  }
  local a, b, c = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6])
  if ARGV[i + 3] == 'bucket' then
    order.perMs, order.fullAt = b, fullAt(order.unit)
    -- What a microsecond fills is rounding.
    order.level = a - (order.fullAt - now) * b
    local missing = math.min(order.need, a) - order.level - b / 1000
    if missing > 0 then
      if b == 0 then order.wait = -1 else order.wait = missing / b end
    end
    order.give = math.max(order.need, math.min(order.want, math.floor(order.level)))
  else
    order.start, order.ends = a, b
    local before = spent(order.unit, a, b)
    order.level = before or 0
    if before == nil then
      -- A window that is over, by a clock that is late: the next one is asked for soon.
      order.wait = 1000
    elseif order.need > c then
      order.wait = -1
    elseif order.need > 0 and before + order.need > c then
      order.wait = math.max(1, b - now)
    end
    order.give = math.max(order.need, math.min(order.want, c - order.level))
  end
  if order.wait ~= 0 then refused = true end
  orders[#orders + 1] = order
end
local replies = {}
for _, order in ipairs(orders) do
  local given = 0
  if not refused then
    given = order.give
    if order.perMs then
      order.level = order.level - given
      order.fullAt = order.fullAt + given / order.perMs
      redis.call('HSET', account, order.unit, text(order.fullAt))
      keepUntil(order.fullAt)
    else
      order.level = order.level + given
      redis.call('HSET', account, order.unit .. ':spent', text(order.level))
      keepUntil(order.ends)
    end
  end
  replies[#replies + 1] = text(given)
  replies[#replies + 1] = text(order.wait)
  replies[#replies + 1] = text(order.level)
end
return replies
`

/**
 * Corrects what was taken, once. KEYS: the account, and what marks these corrections as made. ARGV,
 * for each: unit, amount, kind and three numbers. Returns what has been spent in a window when four
 * fifths of it are, once a window; else an empty text.
 */
export const CORRECT = `${ACCOUNT}
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', 120000) then return {''} end
local warning = ''
for i = 1, #ARGV, 6 do
  local unit, amount = ARGV[i], tonumber(ARGV[i + 1])
  local a, b, c = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  if ARGV[i + 2] == 'bucket' then
    if b > 0 then
      local before = fullAt(unit)
      local after = math.max(now, before + amount / b)
      -- Estimates that were far too low do not keep a key out for hours.
      if amount > 0 then after = math.max(before, math.min(after, now + (a + c) / b)) end
      redis.call('HSET', account, unit, text(after))
      keepUntil(after)
    end
  else
    local before = spent(unit, a, b)
    -- What belongs to a window that is over is no concern of the new one.
    if before then
      local after = math.max(0, before + amount)
      redis.call('HSET', account, unit .. ':spent', text(after))
      keepUntil(b)
      if after >= 0.8 * c and redis.call('HSETNX', account, unit .. ':warned', '1') == 1 then
        warning = text(after)
      end
    end
  end
end
return {warning}
`
