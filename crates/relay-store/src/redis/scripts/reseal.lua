-- reseal: puts a value in the place of one that begins so still.
-- KEYS: the key. ARGV: how it begins, the new value. Gives 1 if it is there, else 0.
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
