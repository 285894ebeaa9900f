-- Adds to a counter, unless the present value is outside the interval that allows it.
--
-- KEYS[1]  the counter
-- KEYS[2]  the idempotency record; left out by calls without a key
-- ARGV     by, lowest and highest present value allowed (they may exceed 64 bits), time to live of a new counter in
--          seconds or '', fingerprint, seconds to keep the record
-- Replies  {'applied', value} | {'replayed', value} | {'refused', present value} | {'mismatch'}

local by, lowest, highest, ttl, fingerprint, keep = unpack(ARGV)

local before = replay(KEYS[2], fingerprint)
if before then return before end

local current = read(KEYS[1])
if less(current or '0', lowest) or less(highest, current or '0') then return {'refused', current or '0'} end

redis.call('INCRBY', KEYS[1], by)
if not current and ttl ~= '' then redis.call('EXPIRE', KEYS[1], ttl) end
-- INCRBY's own reply would be a Lua number here.
local value = redis.call('GET', KEYS[1])
remember(KEYS[2], fingerprint, value, keep)
return {'applied', value}
