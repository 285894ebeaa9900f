-- Forget everything, because it cannot be told what has changed.
-- KEYS: alive, relayed. ARGV: field of relayed, the state from which the log will be followed, the server's time until
--       which the cache is then to be trusted (ms since 1970).
-- Reply: 1.
-- Other caches in this database lose their entries, not their states: an empty cache agrees with any state.
local states = redis.call('HGETALL', KEYS[2])
redis.call('FLUSHDB', 'ASYNC')
if #states > 0 then
  redis.call('HSET', KEYS[2], unpack(states))
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local time = redis.call('TIME')
local left = tonumber(ARGV[3]) - time[1] * 1000 - math.floor(time[2] / 1000)
if left > 0 then
  redis.call('SET', KEYS[1], '1', 'PX', left)
end
return 1
