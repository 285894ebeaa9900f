-- Forget keys: their entries, their fills under way, and what processes hold in memory.
-- KEYS: alive, state; the signals of all keys (without versions: any version may be next); then for each key its entry and
--       its lease.
-- ARGV: the epoch of the names, the number of signals.
-- Reply: nil when it is done. If another epoch has begun, that epoch: the caller's names are old, and nothing was done.
-- If there is no epoch, readers trust nothing, and the next epoch begins empty.
local epoch = redis.call('HGET', KEYS[2], 'epoch') or redis.call('GET', KEYS[1])
if epoch and epoch ~= ARGV[1] then
  return epoch
end
local signals = 2 + tonumber(ARGV[2])
for i = signals + 1, #KEYS, 2 do
  redis.call('DEL', KEYS[i], KEYS[i + 1])
end
-- A signal's key does not stay. Redis and its replicas push its name to clients with tracking.
for i = 3, signals do
  redis.call('SET', KEYS[i], '')
  redis.call('DEL', KEYS[i])
end
return false
