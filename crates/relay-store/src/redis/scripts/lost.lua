-- lost: counts deliveries that Redis has lost, once for each telling of a run, and writes lines of the audit log about them.
-- ARGV: run, number of the telling, number of destinations; for each: its name, how many; number of lines; each with its place.
-- Gives 1 if they are counted now, 0 if they were before. Always writes.
local run, telling = next_argument(), tonumber(next_argument())
must_be('hash', counters)
must_be('stream', key('audit', ''))
local lost = all_of(function() return { destination = next_argument(), by = tonumber(next_argument()) } end)
local lines = all_of(function() return { line = next_argument(), place = next_argument() } end)

if (tonumber(redis.call('HGET', counters, 'told:' .. run) or 0) or 0) >= telling then
    count('again', 1)
    tell()
    return 0
end

-- They may be in the counters that are left, or not: whatever `created` says, it is what the others come to.
local function unknown_of(destination)
    local of = 'd:' .. destination .. ':'
    local parts = redis.call('HMGET', counters, of .. 'created', of .. 'retired', of .. 'lost', of .. '1', of .. '2', of .. '3',
        of .. '4', of .. '5', of .. '6', of .. '7')
    local unknown = tonumber(parts[1] or 0) or 0
    for at = 2, #parts do
        unknown = unknown - (tonumber(parts[at] or 0) or 0)
    end
    return math.max(unknown, 0)
end

for _, of in ipairs(lost) do
    count_destination(of.destination, 'created', of.by - math.min(unknown_of(of.destination), of.by))
    count_destination(of.destination, 'lost', of.by)
end
redis.call('HSET', counters, 'told:' .. run, telling)
for _, entry in ipairs(lines) do
    add(key('audit', ''), entry.place, 'l', entry.line)
end
tell()
return 1
