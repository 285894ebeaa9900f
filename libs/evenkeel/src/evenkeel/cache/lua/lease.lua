-- Read entries, or take the leases to fill their keys.
-- KEYS: alive; then for each key its entry and its lease.
-- ARGV: the epoch of the names, now (ms since 1970), lifetime of a lease (ms); then for each key a token that no other
--       fill has, and 1 if the caller cannot use the present entry.
-- Reply: nil if the cache may not be trusted; else the epoch. If that is the caller's epoch, one more for each key:
--        the entry: it is fresh and usable;
--        1: the caller has the lease now;
--        0: another fill has the lease.
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  return false
end
local replies = {epoch}
if epoch ~= ARGV[1] then
  return replies
end
local now, lifetime = tonumber(ARGV[2]), ARGV[3]
for i = 1, (#KEYS - 1) / 2 do
  local entry, lease = KEYS[2 * i], KEYS[2 * i + 1]
  local token, unusable = ARGV[2 * i + 2], ARGV[2 * i + 3] == '1'
  local value = redis.call('GET', entry)
  if value and not unusable and #value >= 16 and struct.unpack('>I8', value, 9) > now then
    replies[i + 1] = value
  elseif redis.call('SET', lease, token, 'NX', 'PX', lifetime) then
    replies[i + 1] = 1
  else
    replies[i + 1] = 0
  end
end
return replies
