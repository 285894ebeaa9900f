-- Forget keys: their entries, their fills under way, and what processes hold in memory.
-- KEYS: alive, state; then for each key its entry, its lease and its signal (without a version: any version may be next).
-- ARGV: the epoch of the names.
-- Reply: nil when it is done. If another epoch has begun, that epoch: the caller's names are old, and nothing was done.
-- If there is no epoch, readers trust nothing, and the next epoch begins empty.
local epoch = redis.call('HGET', KEYS[2], 'epoch') or redis.call('GET', KEYS[1])
if epoch and epoch ~= ARGV[1] then
  return epoch
end
for i = 3, #KEYS, 3 do
  redis.call('DEL', KEYS[i], KEYS[i + 1])
  -- The signal's key does not stay. Redis and its replicas push its name to clients with tracking.
  redis.call('SET', KEYS[i + 2], '')
  redis.call('DEL', KEYS[i + 2])
end
return false
