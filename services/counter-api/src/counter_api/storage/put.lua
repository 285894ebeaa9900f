-- Sets a counter, unless If-Match says otherwise. A time to live goes on.
--
-- KEYS[1]  the counter
-- KEYS[2]  the idempotency record; left out by calls without a key
-- ARGV     value, fingerprint, seconds to keep the record, condition... (see condition_holds)
-- Replies  {'applied', value} | {'replayed', value} | {'unmatched'} | {'unmatched', present value} | {'mismatch'}

local value, fingerprint, keep = unpack(ARGV, 1, 3)

local before = replay(KEYS[2], fingerprint)
if before then return before end

local current = read(KEYS[1])
if not condition_holds(current, 4) then return {'unmatched', current or nil} end

redis.call('SET', KEYS[1], value, 'KEEPTTL')
remember(KEYS[2], fingerprint, value, keep)
return {'applied', value}
