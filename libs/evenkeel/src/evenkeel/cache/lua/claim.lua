-- Become, or stay, the relay at work.
-- KEYS: owner, alive, relayed. ARGV: the caller's id, how long the claim holds (ms), field of relayed.
-- Reply: {1 if the caller is the owner, the state relayed last or nil, the server's time (ms since 1970), and for how
--        many ms alive still lives (below zero: it does not)}.
local owner = redis.call('GET', KEYS[1])
local mine = 0
if not owner or owner == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  mine = 1
end
local time = redis.call('TIME')
return {
  mine,
  redis.call('HGET', KEYS[3], ARGV[3]),
  time[1] * 1000 + math.floor(time[2] / 1000),
  redis.call('PTTL', KEYS[2]),
}
