-- Says which of some names are not listed.
--
-- KEYS[1]  the names of the shard
-- ARGV     the names
-- Replies  those that are not there

local lacking = {}
for _, name in ipairs(ARGV) do
  if not redis.call('ZSCORE', KEYS[1], name) then lacking[#lacking + 1] = name end
end
return lacking
