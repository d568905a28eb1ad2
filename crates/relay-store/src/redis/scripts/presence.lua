-- presence: takes down what one run says, in the place of what it said before, and gives what the others said lately.
-- KEYS: the runs. ARGV: run, moment (16 digits) and words, the moment before which one is gone. Gives run and words of each.
local found = redis.call('TYPE', KEYS[1])['ok']
if found ~= 'hash' and found ~= 'none' then
    -- It is put aside soon.
    return redis.error_reply('SPOILT ' .. KEYS[1] .. ' is a ' .. found .. ' and not a hash')
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local all, others = redis.call('HGETALL', KEYS[1]), {}
for at = 1, #all, 2 do
    local said = all[at + 1]
    -- Words that somebody spoilt are those of one that is gone, and a field whose name is no number of a run is nobody's.
    if #all[at] ~= 8 or (tonumber(string.sub(said, 1, 16)) or 0) <= tonumber(ARGV[3]) then
        redis.call('HDEL', KEYS[1], all[at])
    elseif all[at] ~= ARGV[1] then
        others[#others + 1] = all[at]
        others[#others + 1] = said
    end
end
return others
