-- Removes names without counters, except names that were listed lately.
--
-- KEYS[1]  the names of the shard
-- KEYS[2]  the stamps
-- ARGV[1]  when the names were read, in milliseconds; their counters were looked for later
-- ARGV[2]  milliseconds after reading in which names may be removed
-- ARGV[3]  milliseconds for which a stamp keeps its name
-- ARGV[4…] the names
-- Replies  how many were removed

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local read = tonumber(ARGV[1])
if now < read or now - read > tonumber(ARGV[2]) then return 0 end
local removed = 0
for place = 4, #ARGV do
  local stamp = redis.call('ZSCORE', KEYS[2], ARGV[place])
  if not stamp or tonumber(stamp) < now - ARGV[3] then
    removed = removed + redis.call('ZREM', KEYS[1], ARGV[place])
    redis.call('ZREM', KEYS[2], ARGV[place])
  end
end
return removed
