-- aside: puts a key out of the way that is of another type than ours, and lets none of ours go by itself.
-- KEYS: the key, where it goes. ARGV: its type, what stands in its place then (nothing: nothing). Gives 1 if it went, and 1 if it was to expire,
-- else 0.
local found, went = redis.call('TYPE', KEYS[1])['ok'], 0
if found ~= 'none' and found ~= ARGV[1] then
    redis.call('RENAME', KEYS[1], KEYS[2])
    if ARGV[2] ~= '' then
        redis.call('SET', KEYS[1], ARGV[2])
    end
    went = 1
end
return { went, redis.call('PERSIST', KEYS[1]) }
