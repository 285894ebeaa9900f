-- Trust nothing until a look at the change log says otherwise; what is there stays, and so does the state.
-- KEYS: alive, state. ARGV: why.
-- Reply: 1.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'distrust', ARGV[1])
return 1
