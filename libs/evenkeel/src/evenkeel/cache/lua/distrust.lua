-- End trust until a look at the change log permits it again. Entries and state stay.
-- KEYS: alive, state. ARGV: the reason.
-- Reply: 1.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'distrust', ARGV[1])
return 1
