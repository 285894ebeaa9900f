-- Adds to a counter what several callers add without conditions: the usual case of batch.lua, at a quarter of its cost.
--
-- KEYS[1]  the counter
-- KEYS[2]  the sender's receipt (see receipt.lua)
-- ARGV     number, until, receipt ('1' or '', all as in batch.lua), sum
-- Replies  'v' and the value   split: nothing was done, because that would leave 64 bits or there is no counter's data
--          late, stale: as batch.lua

local number = tonumber(ARGV[1])
local reply = dispatched(number, tonumber(ARGV[2]))
if reply then return reply end

local sum = redis.pcall('INCRBY', KEYS[1], ARGV[4])
if type(sum) == 'table' then
  return ARGV[3] == '1' and leave_receipt(number, 'split') or 'split'
end
-- The number that INCRBY replies is a double here, exact up to 2^53 only.
return leave_receipt(number, 'v' .. redis.call('GET', KEYS[1]))
