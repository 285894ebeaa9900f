-- Become, or stay, the relay at work.
-- KEYS: owner, alive, state. ARGV: the caller's id, how long the claim holds (ms).
-- Reply: {1 if the caller is the owner, the epoch ('' if there is none), the state relayed last ('' if there is none), the
--        epoch whose beginning all old names have been removed after ('' if none), why nothing is trusted ('' if
--        nothing speaks against it), the server's time (ms since 1970), and for how many ms alive still lives (below
--        zero: it does not)}.
local owner = redis.call('GET', KEYS[1])
local mine = 0
if not owner or owner == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  mine = 1
end
local held = redis.call('HMGET', KEYS[3], 'epoch', 'state', 'swept', 'distrust')
local time = redis.call('TIME')
return {
  mine,
  held[1] or '',
  held[2] or '',
  held[3] or '',
  held[4] or '',
  time[1] * 1000 + math.floor(time[2] / 1000),
  redis.call('PTTL', KEYS[2]),
}
