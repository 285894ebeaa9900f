-- Removes what a counter left behind when it expired, or was deleted by another program.
--
-- KEYS[1]  the counter
-- Replies  1 if there is no such counter

if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
forget_series(KEYS[1])
return 1
