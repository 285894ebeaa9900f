-- Lists names, because their counters are about to be made.
--
-- KEYS[1]  the names of the shard; all scores are 0, so they are in the order of their bytes
-- KEYS[2]  the stamps: when each of these names was listed, in milliseconds
-- ARGV[1]  milliseconds for which a stamp is kept
-- ARGV[2…] the names
-- Replies  the time, in milliseconds

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for place = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 0, ARGV[place])
  redis.call('ZADD', KEYS[2], now, ARGV[place])
end
-- Each call removes some old stamps, so that no call takes long.
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1], 'LIMIT', 0, 2 * #ARGV)
if #old > 0 then redis.call('ZREM', KEYS[2], unpack(old)) end
return now
