-- Apply what the change log says has changed.
-- KEYS: alive, relayed; then for each changed key its entry, its lease and its signal (which ends in the version).
-- ARGV: field of relayed, the state that the changes were read from, the state that they lead to, the server's time
--       until which the cache is then to be trusted (ms since 1970; 0 if more changes follow); then for each key the
--       version it has now, '' if it was deleted.
-- Reply: 1 if the state has moved, 0 if not: it was another one, which a second relay or a failover explains.
for i = 1, (#KEYS - 2) / 3 do
  local entry, lease, signal = KEYS[3 * i], KEYS[3 * i + 1], KEYS[3 * i + 2]
  local version = tonumber(ARGV[4 + i])
  local value = redis.call('GET', entry)
  local held = redis.call('GET', lease)
  -- An entry that has seen the change may stay: the writer invalidated, and a reader has filled again since.
  if value and not (version and #value >= 16 and struct.unpack('>I8', value, 1) >= version) then
    redis.call('DEL', entry)
  end
  -- A fill under way may have read the row before or after the change: its version will tell.
  if held then
    local token, least = string.match(held, '^(%S+) ?(%d*)$')
    if not version then
      redis.call('DEL', lease)
    elseif least == '' or tonumber(least) < version then
      redis.call('SET', lease, token .. ' ' .. ARGV[4 + i], 'KEEPTTL')
    end
  end
  redis.call('SET', signal, '')
  redis.call('DEL', signal)
end
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
-- The server may have been frozen since the log was read; trust counts from then, not from now.
local time = redis.call('TIME')
local left = tonumber(ARGV[4]) - time[1] * 1000 - math.floor(time[2] / 1000)
if left > 0 then
  redis.call('SET', KEYS[1], '1', 'PX', left)
end
return 1
