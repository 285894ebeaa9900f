-- Note that no names of older epochs are left.
-- KEYS: state. ARGV: the epoch.
-- Reply: 1 if that is the epoch, 0 if another one has begun meanwhile.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'swept', ARGV[1])
return 1
