-- Forget everything by hand: begin another epoch. The position in the log stays.
-- KEYS: alive, state, the signal that anything may have changed. ARGV: the new epoch.
-- Reply: the epoch before; '' if there was none, so that there was nothing to forget.
local before = redis.call('HGET', KEYS[2], 'epoch') or redis.call('GET', KEYS[1])
if not before then
  return ''
end
redis.call('HSET', KEYS[2], 'epoch', ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL')
end
redis.call('SET', KEYS[3], '')
redis.call('DEL', KEYS[3])
return before
