-- Store entries whose leases are still those of their fills, and give the leases back.
-- KEYS: for each key its entry and its lease.
-- ARGV: for each key the fill's token, the value ('' gives the lease back without storing anything), its lifetime (ms)
--       and the row's version.
-- Reply: for each key 1 if the value was stored, 0 if it was not.
local replies = {}
for i = 1, #KEYS / 2 do
  local entry, lease = KEYS[2 * i - 1], KEYS[2 * i]
  local token, value, lifetime, version = ARGV[4 * i - 3], ARGV[4 * i - 2], ARGV[4 * i - 1], tonumber(ARGV[4 * i])
  replies[i] = 0
  local held = redis.call('GET', lease)
  if held then
    -- The relay adds to a lease the least version that it has seen committed meanwhile.
    local holder, least = string.match(held, '^(%S+) ?(%d*)$')
    if holder == token then
      redis.call('DEL', lease)
      if value ~= '' and (least == '' or version >= tonumber(least)) then
        redis.call('SET', entry, value, 'PX', lifetime)
        replies[i] = 1
      end
    end
  end
end
return replies
