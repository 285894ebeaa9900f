-- Adds the sum of several increments without conditions: the usual case of batch.lua, at a quarter of its cost.
--
-- KEYS[1]  the counter
-- KEYS[2]  the sender's receipt (see receipt.lua)
-- ARGV     number, until, receipt ('1' or '', all as in batch.lua), sum, listed (as in batch.lua)
-- Replies  'v' and the value before
--          split: nothing was done, because the sum does not fit into 64 bits, or the key holds another program's data
--          late, stale, unlisted: as batch.lua

local number = tonumber(ARGV[1])
local reply = dispatched(number, tonumber(ARGV[2]))
if reply then return reply end

local function nothing_done(why)
  return ARGV[3] == '1' and leave_receipt(number, why) or why
end

local before = redis.pcall('GET', KEYS[1])
if not before and not listed(ARGV[5]) then return nothing_done('unlisted') end
-- The number that INCRBY replies is a double here, exact up to 2^53 only.
if type(redis.pcall('INCRBY', KEYS[1], ARGV[4])) == 'table' then return nothing_done('split') end
if not before then forget_series(KEYS[1]) end
return leave_receipt(number, 'v' .. (before or '0'))
