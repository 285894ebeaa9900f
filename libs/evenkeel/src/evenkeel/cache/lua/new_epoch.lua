-- Begin another epoch: forget everything, or the keys that have other names in it.
-- KEYS: alive, state; then, if everything is forgotten, the signal that anything may have changed.
-- ARGV: the caller's id, the server's time until which its claim holds (ms since 1970); the epoch and the state that the
--       caller has read; the new epoch, the state that the log is followed from, the server's time until which the cache
--       may then be trusted (ms since 1970; 0 if more changes follow); the reason for distrust that the caller has read. '' for none.
-- Reply: 1 if the epoch has begun; 0 if not, because of another relay or a failover meanwhile.
local held = redis.call('HMGET', KEYS[2], 'epoch', 'state', 'distrust', 'relay')
for i = 1, 3 do
  if (held[i] or '') ~= ARGV[({3, 4, 8})[i]] then
    return 0
  end
end
redis.call('HSET', KEYS[2], 'epoch', ARGV[5], 'state', ARGV[6])
redis.call('HDEL', KEYS[2], 'distrust')
local time = redis.call('TIME')
local left = tonumber(ARGV[7]) - time[1] * 1000 - math.floor(time[2] / 1000)
if left > 0 then
  redis.call('SET', KEYS[1], ARGV[5], 'PX', left)
else
  redis.call('DEL', KEYS[1])
end
if KEYS[3] then
  redis.call('SET', KEYS[3], '')
  redis.call('DEL', KEYS[3])
end
if held[4] == ARGV[1] then
  redis.call('HSET', KEYS[2], 'claimed_until', ARGV[2])
end
return 1
