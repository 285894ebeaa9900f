-- Forget keys: their entries, the fills under way, and what processes hold in memory.
-- KEYS: alive, state; then for each key its entry, its lease and its signal (which ends in no version: whatever it is).
-- ARGV: the epoch that the names have.
-- Reply: nil when it is done; else the epoch that has begun: nothing was done, the caller's names are old.
-- Without any epoch there is nothing that readers trust, and the next epoch begins empty.
local epoch = redis.call('HGET', KEYS[2], 'epoch') or redis.call('GET', KEYS[1])
if epoch and epoch ~= ARGV[1] then
  return epoch
end
for i = 3, #KEYS, 3 do
  redis.call('DEL', KEYS[i], KEYS[i + 1])
  -- Nothing stays at the signal's name. That it was touched is what clients with tracking are told, also by replicas.
  redis.call('SET', KEYS[i + 2], '')
  redis.call('DEL', KEYS[i + 2])
end
return false
