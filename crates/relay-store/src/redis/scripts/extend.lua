-- extend: moves the end of leases that are held under their fence; passes over the others.
-- ARGV: number; for each: id, fence, the new end with its CRC. Gives for each: 1 moved, 0 passed over.
local answers, extended = {}, false
for at = 1, tonumber(next_argument()) do
    local id, fence, ending = next_argument(), next_argument(), next_argument()
    local row = load(id)
    answers[at] = 0
    if row and is_whole(row) and state_of(row) == '3' and fence_of(row) == fence then
        row = put(row, 4, raised(version_of(row)))
        row = put(row, 212, ending)
        row = put(row, 232, string.format('%010.0f', tonumber(cut(row, 232, 10)) + 1))
        redis.call('ZADD', key('leases', ''), until_of(row), id .. instance_of(row))
        redis.call('SET', key('d:', id), row)
        answers[at], extended = 1, true
    end
end
if not extended then
    count('again', 1)
end
tell()
return answers
