-- Deletes a counter, unless If-Match says otherwise.
--
-- KEYS[1]  the counter
-- KEYS[2]  the idempotency record; left out by calls without a key
-- ARGV     fingerprint, seconds to keep the record, condition... (see condition_holds)
-- Replies  {'applied', '0'} | {'replayed', '0'} | {'absent'} | {'unmatched', present value} | {'mismatch'}

local fingerprint, keep = unpack(ARGV, 1, 2)

local before = replay(KEYS[2], fingerprint)
if before then return before end

local current = read(KEYS[1])
if not current then return {'absent'} end
if not condition_holds(current, 3) then return {'unmatched', current} end

redis.call('DEL', KEYS[1])
remember(KEYS[2], fingerprint, '0', keep)
return {'applied', '0'}
