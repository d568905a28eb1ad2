-- consumers: takes consumers out of a group that have nothing pending, were idle for long, and whose runs are not heard of.
-- KEYS: counters, the stream. ARGV: how long (ms), and the numbers of the runs that are. Gives how many went. Always writes.
local idle_min, lives = tonumber(ARGV[1]), {}
for at = 2, #ARGV do
    lives[ARGV[at]] = true
end
local gone = 0
local all = redis.pcall('XINFO', 'CONSUMERS', KEYS[2], 'relay')
for _, found in ipairs(all.err and {} or all) do
    local of = {}
    for field = 1, #found, 2 do
        of[found[field]] = found[field + 1]
    end
    local run = string.match(of['name'], ':(%x+)$')
    if run and #run == 16 and not lives[run] and of['pending'] == 0 and of['idle'] >= idle_min and gone < 64 then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[2], 'relay', of['name'])
        gone = gone + 1
    end
end
if type(redis.pcall('HINCRBY', KEYS[1], 'again', 1)) == 'table' then
    redis.call('HSET', KEYS[1], 'spoilt:again', 1)
end
return gone
