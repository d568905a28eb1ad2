-- extend: moves the end of leases that stand under their fence and are kept by this run, to a later one; passes over the others.
-- ARGV: number; for each: id, fence, keeper, the new end with its CRC. Gives the row of each as it is then; nothing if it is gone.
local answers, extended = {}, false
must_be('hash', counters)
must_be('zset', key('leases', ''))
local function next_extension()
    local of = { id = next_argument(), fence = next_argument(), keeper = next_argument(), ending = next_argument() }
    load(of.id)
    return of
end
local function extend(of)
    local row = load(of.id)
    local stands = row and is_whole(row) and state_of(row) == '3' and fence_of(row) == of.fence and keeper_of(row) == of.keeper
    stands = stands and tonumber(until_of(row)) and tonumber(cut(row, 232, 10))
    if stands and tonumber(sub(of.ending, 1, 16)) > tonumber(until_of(row)) then
        row = put(row, 4, raised(version_of(row)))
        row = put(row, 212, of.ending)
        row = put(row, 232, string.format('%010.0f', tonumber(cut(row, 232, 10)) + 1))
        redis.call('ZADD', key('leases', ''), until_of(row), of.id .. instance_of(row))
        keep(of.id, row)
        extended = true
    end
    return row or false
end
local extensions = all_of(next_extension)
do_all(function()
    for at, of in ipairs(extensions) do
        answers[at] = extend(of)
    end
end)
if not extended then
    count('again', 1)
end
tell()
return answers
