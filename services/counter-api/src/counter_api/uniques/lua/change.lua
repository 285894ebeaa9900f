-- Adds a member, or forgets all members: once for each Idempotency-Key.
--
-- KEYS[1]  the HyperLogLog
-- KEYS[2]  the record of the key
-- ARGV     fingerprint of the payload, seconds to keep the record, what to add ('' to forget all)
-- Replies  whether this was done before (1 or 0), and the outcome:
--          after adding the number of members; after forgetting 1, or 0 if there were none   w: no HyperLogLog
--          !: the record is another payload's

local record = redis.call('GET', KEYS[2])
if record then
  local fingerprint, answered = record:match('^(%x+) (.+)$')
  if fingerprint ~= ARGV[1] then return {0, '!'} end
  -- Written again, because WAITAOF waits only for the last write of its own connection.
  redis.call('SET', KEYS[2], record, 'KEEPTTL')
  return {1, answered}
end

local count = redis.pcall('PFCOUNT', KEYS[1])
local answer
if type(count) == 'table' then
  answer = 'w'
elseif ARGV[3] == '' then
  answer = string.format('%d', redis.call('DEL', KEYS[1]))
else
  redis.call('PFADD', KEYS[1], ARGV[3])
  answer = string.format('%d', redis.call('PFCOUNT', KEYS[1]))
end
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. answer, 'EX', ARGV[2])
return {0, answer}
