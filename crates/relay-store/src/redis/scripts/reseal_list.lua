-- reseal_list: puts values in the place of those of a list, if they are the same still.
-- KEYS: the list. ARGV: how many; the old ones; the new ones. Gives 1 if they are there, else 0.
local count, found = tonumber(ARGV[1]), redis.call('LRANGE', KEYS[1], 0, -1)
if #found ~= count then
    return 0
end
for at = 1, count do
    if found[at] ~= ARGV[1 + at] then
        return 0
    end
end
redis.call('DEL', KEYS[1])
for at = 1, count do
    redis.call('RPUSH', KEYS[1], ARGV[1 + count + at])
end
return 1
