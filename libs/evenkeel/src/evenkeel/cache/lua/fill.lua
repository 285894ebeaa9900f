-- Store entries whose leases are still those of their fills, and give the leases back.
-- KEYS: state; then for each key its entry and its lease.
-- ARGV: the epoch that the names have; then for each key the fill's token, the value ('' gives the lease back without
--       storing anything), its lifetime (ms) and the row's version.
-- Reply: for each key 1 if the value was stored, 0 if it was not.
-- Nothing is stored in an epoch that is over, so that no name is left when the old ones have been removed.
local current = redis.call('HGET', KEYS[1], 'epoch') == ARGV[1]
local replies = {}
for i = 1, (#KEYS - 1) / 2 do
  local entry, lease = KEYS[2 * i], KEYS[2 * i + 1]
  local token, value, lifetime, version = ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i], tonumber(ARGV[4 * i + 1])
  replies[i] = 0
  local held = redis.call('GET', lease)
  if held then
    -- The relay adds to a lease the least version that it has seen committed meanwhile.
    local holder, least = string.match(held, '^(%S+) ?(%d*)$')
    if holder == token then
      redis.call('DEL', lease)
      if current and value ~= '' and (least == '' or version >= tonumber(least)) then
        redis.call('SET', entry, value, 'PX', lifetime)
        replies[i] = 1
      end
    end
  end
end
return replies
