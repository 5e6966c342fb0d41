/**
 * Functions of both scripts. An account is a hash: for a bucket it has the time at which the bucket
 * is full again, for a window its start and the spent amount. Times are in milliseconds on Redis'
 * clock.
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
 * unit, the amount that the call needs, the amount that it wants, the limit's kind and three
 * numbers. Returns for each: the amount given, the time to wait (-1: forever), and the level.
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
    -- Tolerate a rounding error of one microsecond's refill.
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
      -- The caller's clock is late and its window is over; let it retry soon.
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
 * Corrects taken amounts, once. KEYS: the account, and a marker that these corrections were
 * applied. ARGV, for each: unit, amount, kind and three numbers. Returns the spent amount of a
 * window when it first reaches 80 % of the limit, else an empty string.
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
      -- Limit the debt, so that an estimate that was far too low does not block a key for hours.
      if amount > 0 then after = math.max(before, math.min(after, now + (a + c) / b)) end
      redis.call('HSET', account, unit, text(after))
      keepUntil(after)
    end
  else
    local before = spent(unit, a, b)
    -- Ignore corrections of a window that is over.
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
