-- Reads names of one shard, in their order.
--
-- KEYS[1]  the names
-- KEYS[2]  the shard's state (see mark.lua)
-- ARGV     where to begin and to end, as ZRANGEBYLEX has it, and how many at most
-- Replies  1 if the shard is complete, the time in milliseconds, the names

local time = redis.call('TIME')
return {
  redis.call('GET', KEYS[2]) == 'complete' and 1 or 0,
  time[1] * 1000 + math.floor(time[2] / 1000),
  redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3]),
}
