-- erase: writes over an event that is as it was read, if nothing of it may still go out; its dedupe key holds no more.
-- ARGV: its id, its source, what stands in front of its head, how its value begins, the value in its place, the states that nothing brings
-- back. Gives 1 if it is done, 2 if a delivery of it may still go out, 0 if it is another by now. Always writes.
local event, source, front, begin, erased, over =
    next_argument(), next_argument(), next_argument(), next_argument(), next_argument(), next_argument()
must_be('hash', counters)
local value = key('e:', event)
local answer = part_of(value, 0, #begin - 1) == begin and 1 or 0
local found = answer == 1 and family(event) or {}
for at = 2, #found, 2 do
    if not string.find(over, state_of(found[at]), 1, true) then
        answer = 2
    end
end
if answer == 1 then
    redis.call('SET', value, erased, 'KEEPTTL')
    free_key(event, source, front)
end
count('again', 1)
tell()
return answer
