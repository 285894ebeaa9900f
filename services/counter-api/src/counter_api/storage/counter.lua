-- Prepended to increment.lua, put.lua and delete.lua: reading a counter, comparing exactly, idempotency records.
--
-- Values are canonical decimal strings throughout, because Lua numbers are doubles, exact up to 2^53 only.
-- A script validates everything before its first write: Redis does not roll a script back.

local INT64_MIN, INT64_MAX = '-9223372036854775808', '9223372036854775807'

-- Whether a < b.
local function less(a, b)
  local negative = a:sub(1, 1) == '-'
  if negative ~= (b:sub(1, 1) == '-') then return negative end
  if a == b then return false end
  if #a ~= #b then return (#a < #b) ~= negative end
  return (a < b) ~= negative
end

-- The counter's value, or false if there is none. Somebody else's data is an error, as it is for INCR.
local function read(key)
  local value = redis.call('GET', key)
  if not value then return false end
  local canonical = value == '0' or value:find('^-?[1-9]%d*$')
  if not canonical or less(value, INT64_MIN) or less(INT64_MAX, value) then
    error({err = 'WRONGTYPE The key holds no signed 64-bit integer'})
  end
  return value
end

-- The reply to give without doing anything, if the record (nil: the call has no key) says that it was done before.
local function replay(record, fingerprint)
  local found = record and redis.call('GET', record)
  if not found then return nil end
  local seen, value = found:match('^(%x+) (.+)$')
  if seen ~= fingerprint then return {'mismatch'} end
  return {'replayed', value}
end

local function remember(record, fingerprint, value, seconds)
  if record then redis.call('SET', record, fingerprint .. ' ' .. value, 'EX', seconds) end
end

-- Whether If-Match lets ARGV[first] onwards pass: nothing there = no condition, '*' = the counter exists,
-- else the values that it may have.
local function condition_holds(current, first)
  if #ARGV < first then return true end
  if not current then return false end
  if ARGV[first] == '*' then return true end
  for i = first, #ARGV do
    if ARGV[i] == current then return true end
  end
  return false
end
