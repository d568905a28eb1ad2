-- forget: events that never had a delivery, and marks of jobs.
-- ARGV: number of events; for each: id, source, its front as it was read; number of jobs; for each its id. Gives how many events went.
-- Always writes.
local function next_lone()
    local lone = { event = next_argument(), source = next_argument(), front = next_argument() }
    check_event(lone.source)
    return lone
end
must_be('hash', counters)
must_be('zset', key('lone', ''))
must_be('zset', key('steps', ''))
local gone, events, jobs = 0, all_of(next_lone), all_of(next_argument)
for _, lone in ipairs(events) do
    if redis.call('ZSCORE', key('lone', ''), lone.event) and is_event(lone.event, lone.front, '') then
        redis.call('ZREM', key('lone', ''), lone.event)
        remove_event(lone.event, lone.source, lone.front)
        gone = gone + 1
    end
end
for _, job in ipairs(jobs) do
    redis.call('ZREM', key('steps', ''), job)
    redis.call('DEL', key('step:', job))
end
count('again', 1)
tell()
return gone
