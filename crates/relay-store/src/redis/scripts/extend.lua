-- extend: moves the end of leases that stand under their fence and are kept by this run, to a later one; passes over the others.
-- ARGV: number; for each: id, fence, keeper, the new end with its CRC. Gives the row of each as it is then; nothing if it is gone.
local answers, extended = {}, false
must_be('hash', counters)
must_be('zset', key('leases', ''))
for at = 1, tonumber(next_argument()) do
    local id, fence, keeper, ending = next_argument(), next_argument(), next_argument(), next_argument()
    local row = load(id)
    local stands = row and is_whole(row) and state_of(row) == '3' and fence_of(row) == fence and keeper_of(row) == keeper
    stands = stands and tonumber(until_of(row)) and tonumber(cut(row, 232, 10))
    if stands and tonumber(sub(ending, 1, 16)) > tonumber(until_of(row)) then
        row = put(row, 4, raised(version_of(row)))
        row = put(row, 212, ending)
        row = put(row, 232, string.format('%010.0f', tonumber(cut(row, 232, 10)) + 1))
        redis.call('ZADD', key('leases', ''), until_of(row), id .. instance_of(row))
        keep(id, row)
        extended = true
    end
    answers[at] = row or false
end
if not extended then
    count('again', 1)
end
tell()
return answers
