-- Sets counters, and the record that says how far their import has come.
--
-- KEYS[1]   the record
-- KEYS[2..] the counters
-- ARGV[1]   what the record must say before, '' for no record; else nothing is done
-- ARGV[2]   what the record says afterwards
-- ARGV[3]   seconds to keep it
-- ARGV[4]   until when counters may be made (see creation.lua); 0 if there are none
-- ARGV[5..] value and time to live in seconds ('' for none) of each counter
-- Replies   what the record says in the end |
--           place, from 0, of the first counter whose key holds another program's data |
--           'unlisted': nothing was done, because it came too late

local before = redis.call('GET', KEYS[1]) or ''
if before ~= ARGV[1] then return before end

if #KEYS > 1 and not listed(ARGV[4]) then return 'unlisted' end
local foreign = first_foreign()
if foreign then return foreign end
set_counters()
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return ARGV[2]
