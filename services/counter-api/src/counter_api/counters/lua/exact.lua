-- Prepended to batch.lua: signed 64-bit integers, exactly.
--
-- Lua's numbers are doubles, which are exact up to 2^53 only. So a value is two numbers, high and low:
-- value = high * 10^10 + low with 0 <= low < 10^10. So high is negative whenever the value is.

local BASE = 1e10
local MIN_HIGH, MIN_LOW = -922337204, 3145224192 -- -2^63
local MAX_HIGH, MAX_LOW = 922337203, 6854775807 -- 2^63 - 1

local function less(a_high, a_low, b_high, b_low)
  return a_high < b_high or (a_high == b_high and a_low < b_low)
end

local function add(a_high, a_low, b_high, b_low)
  local high, low = a_high + b_high, a_low + b_low
  if low < BASE then return high, low end
  return high + 1, low - BASE
end

local function within(high, low, least_high, least_low, most_high, most_low)
  return not less(high, low, least_high, least_low) and not less(most_high, most_low, high, low)
end

local function fits(high, low)
  return within(high, low, MIN_HIGH, MIN_LOW, MAX_HIGH, MAX_LOW)
end

local function to_text(high, low)
  local sign = ''
  if high < 0 then
    sign = '-'
    if low > 0 then high, low = high + 1, BASE - low end
    high = 0 - high
  end
  if high == 0 then return string.format('%s%.0f', sign, low) end
  return string.format('%s%.0f%010.0f', sign, high, low)
end

-- High and low, or nil unless the text is an integer of 64 bits as Redis writes it.
local function from_text(text)
  local sign, digits = text:match('^(%-?)(%d+)$')
  if not digits or #digits > 19 then return nil end
  if digits:sub(1, 1) == '0' and text ~= '0' then return nil end
  local high, low = tonumber(digits:sub(1, -11)) or 0, tonumber(digits:sub(-10))
  if sign == '-' then
    high = 0 - high
    if low > 0 then high, low = high - 1, BASE - low end
  end
  if not fits(high, low) then return nil end
  return high, low
end
