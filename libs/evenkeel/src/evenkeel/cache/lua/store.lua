-- Store the entries whose fills still have their leases, and end the leases.
-- KEYS: state; then for each key its entry and its lease.
-- ARGV: the epoch of the names; then for each key the fill's token, the value ('' ends the lease and stores nothing), its
--       lifetime (ms) and the row's version.
-- Reply: for each key 1 if the value was stored, 0 if not.
-- Nothing is stored under an old epoch, so that no name is left after the old names were removed.
local current = redis.call('HGET', KEYS[1], 'epoch') == ARGV[1]
local replies = {}
for i = 1, (#KEYS - 1) / 2 do
  local entry, lease = KEYS[2 * i], KEYS[2 * i + 1]
  local token, value, lifetime, version = ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i], tonumber(ARGV[4 * i + 1])
  replies[i] = 0
  local held = redis.call('GET', lease)
  if held then
    -- The relay adds to a lease the version that was committed meanwhile.
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
