-- Takes, keeps or gives back the lease of the one replica that does some work.
--
-- KEYS[1]  the lease
-- KEYS[2]  the pause: while it exists, no replica gets the lease
-- ARGV[1]  the replica's token
-- ARGV[2]  milliseconds for which the replica takes the lease; 0 gives it back
-- Replies  1 if the replica has the lease now

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return 0
end
if not holder and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
