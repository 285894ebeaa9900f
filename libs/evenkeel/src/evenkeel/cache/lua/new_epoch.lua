-- Begin another epoch: forget everything, or the keys that have other names in it.
-- KEYS: owner, alive, state; then, if everything is forgotten, the signal that anything may have changed.
-- ARGV: the caller's id, how long its claim holds from now on (ms); the epoch and the state that the caller has read; the
--       new epoch, the state that the log is followed from, the server's time until which the cache may then be trusted
--       (ms since 1970; 0 if more changes follow); the reason for distrust that the caller has read. '' for none.
-- Reply: 1 if the epoch has begun; 0 if not, because of another relay or a failover meanwhile.
local held = redis.call('HMGET', KEYS[3], 'epoch', 'state', 'distrust')
for i = 1, 3 do
  if (held[i] or '') ~= ARGV[({3, 4, 8})[i]] then
    return 0
  end
end
redis.call('HSET', KEYS[3], 'epoch', ARGV[5], 'state', ARGV[6])
redis.call('HDEL', KEYS[3], 'distrust')
local time = redis.call('TIME')
local left = tonumber(ARGV[7]) - time[1] * 1000 - math.floor(time[2] / 1000)
if left > 0 then
  redis.call('SET', KEYS[2], ARGV[5], 'PX', left)
else
  redis.call('DEL', KEYS[2])
end
if KEYS[4] then
  redis.call('SET', KEYS[4], '')
  redis.call('DEL', KEYS[4])
end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
