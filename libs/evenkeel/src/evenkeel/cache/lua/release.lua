-- Let another replica's relay take over at once.
-- KEYS: owner. ARGV: the caller's id. Reply: 1 if the caller was the owner.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
