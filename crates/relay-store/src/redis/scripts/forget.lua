-- forget: events that never had a delivery, and marks of jobs.
-- ARGV: number of events; for each: id, source; number of jobs; for each its id. Gives how many events went. Always writes.
local gone = 0
for _ = 1, tonumber(next_argument()) do
    local event, source = next_argument(), next_argument()
    if redis.call('ZREM', key('lone', ''), event) == 1 and redis.call('EXISTS', key('r:', event)) == 0 then
        remove_event(event, source)
        gone = gone + 1
    end
end
for _ = 1, tonumber(next_argument()) do
    local job = next_argument()
    redis.call('ZREM', key('steps', ''), job)
    redis.call('DEL', key('step:', job))
end
count('again', 1)
tell()
return gone
