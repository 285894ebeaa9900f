-- Apply changes from the change log.
-- KEYS: alive, state; the signals of all changed keys; then for each changed key its entry and its lease.
-- ARGV: the caller's id; the server's time until which its claim holds, if no other relay has it (ms since 1970; 0
--       leaves the claim as it is); the epoch of the names; the state that the changes were read from, the state that they
--       lead to, the server's time until which the cache may then be trusted (ms since 1970; 0 if more changes follow);
--       the number of signals; then for each key its version now, '' if it was deleted.
-- Reply: 1 if the state has moved; 2 if it has, and another relay has the claim. 0 if it has not: another relay or a
--        failover has changed the state or noted distrust.
local held = redis.call('HMGET', KEYS[2], 'epoch', 'state', 'distrust', 'relay')
if held[1] ~= ARGV[3] then
  return 0
end
local signals = 2 + tonumber(ARGV[7])
-- Most changed keys have neither an entry nor a lease. So one command finds those that have. Lua's stack is limited.
for first = signals + 1, #KEYS, 1000 do
  local values = redis.call('MGET', unpack(KEYS, first, math.min(first + 999, #KEYS)))
  for i = 1, #values, 2 do
    local value, lent = values[i], values[i + 1]
    if value or lent then
      local entry, lease = KEYS[first + i - 1], KEYS[first + i]
      local argument = ARGV[7 + (first + i - signals) / 2]
      local version = tonumber(argument)
      -- An entry with this version may stay: the writer invalidated, and a reader has filled the key again since.
      if value and not (version and #value >= 16 and struct.unpack('>I8', value, 1) >= version) then
        redis.call('DEL', entry)
      end
      -- A fill under way may have read the row before or after the change. Its version will show which.
      if lent then
        local token, least = string.match(lent, '^(%S+) ?(%d*)$')
        if not version then
          redis.call('DEL', lease)
        elseif least == '' or tonumber(least) < version then
          redis.call('SET', lease, token .. ' ' .. argument, 'KEEPTTL')
        end
      end
    end
  end
end
-- A signal's key does not stay. Redis and its replicas push its name to clients with tracking.
for i = 3, signals do
  redis.call('SET', KEYS[i], '')
  redis.call('DEL', KEYS[i])
end
if held[2] ~= ARGV[4] or held[3] then
  return 0
end
-- A claim that has just ended is renewed as well, if no other relay has it: it would continue from this state.
local mine = not held[4] or held[4] == ARGV[1]
if mine and ARGV[2] ~= '0' then
  redis.call('HSET', KEYS[2], 'state', ARGV[5], 'relay', ARGV[1], 'claimed_until', ARGV[2])
else
  redis.call('HSET', KEYS[2], 'state', ARGV[5])
end
if ARGV[6] ~= '0' then
  -- The server may have been frozen since the log was read. So trust counts from then, not from now. If that moment is
  -- past, this ends trust. Then only the caller may do that, because another relay may have renewed it meanwhile.
  local time = not mine and redis.call('TIME')
  if mine or tonumber(ARGV[6]) > time[1] * 1000 + math.floor(time[2] / 1000) then
    redis.call('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[6])
  end
end
return mine and 1 or 2
