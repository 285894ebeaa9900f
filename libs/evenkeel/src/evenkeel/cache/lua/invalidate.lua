-- Forget keys: their entries, the fills under way, and what processes hold in memory.
-- KEYS: for each key its entry, its lease and its signal (which ends in no version: whatever it is).
-- Reply: 1.
for i = 1, #KEYS, 3 do
  redis.call('DEL', KEYS[i], KEYS[i + 1])
  -- Nothing stays at the signal's name. That it was touched is what clients with tracking are told, also by replicas.
  redis.call('SET', KEYS[i + 2], '')
  redis.call('DEL', KEYS[i + 2])
end
return 1
