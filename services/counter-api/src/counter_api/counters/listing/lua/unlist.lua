-- Removes names that have no counters, but none that was listed lately.
--
-- KEYS[1]  the names of the shard
-- KEYS[2]  the stamps
-- ARGV[1]  when the names were read, in milliseconds; their counters were looked for after that
-- ARGV[2]  milliseconds for which this holds
-- ARGV[3]  milliseconds for which a stamp holds
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
