-- step: one step of a job, if the job is there: changes, removals, new deliveries, line of the audit log and mark.
-- KEYS[3] is the mark. ARGV: the mark before it as it was read, steps and changes behind that, job, when that was begun (ms), the new
-- mark's sealed part, how much was changed in other partitions, line of the audit log or nothing and its place; then changes as in `settle`,
-- removals as in `retire`, new deliveries as in `replay`, each behind their number.
-- Gives 0 and the mark that stands there; 2: something to be removed is to be read again, and nothing is done; or 1, changed so far, and
-- the answers of changes, removals and new deliveries. Always writes.
local before, steps, changed = next_argument(), next_argument(), tonumber(next_argument())
local job, begun, sealed = next_argument(), next_argument(), next_argument()
local done = tonumber(next_argument())
local line, line_place = next_argument(), next_argument()
must_be('hash', counters)
must_be('zset', key('steps', ''))
local mark = part_of(KEYS[3], 0, -1)
local function finish(answer)
    count('again', 1)
    tell()
    return answer
end
if mark ~= before then
    return finish({ 0, mark })
end
if line ~= '' then
    must_be('stream', key('audit', ''))
end
local changes, removals, new_ones = all_of(next_change), all_of(next_removal), all_of(next_made)
for _, removal in ipairs(removals) do
    if removal.unlike then
        return finish({ 2 })
    end
end

local settled, retired, made = {}, {}, {}
do_all(function()
    for at, change in ipairs(changes) do
        settled[at] = settle(change)
        done = done + (settled[at] == 1 and 1 or 0)
    end
    for at, removal in ipairs(removals) do
        retired[at] = retire(removal)
        done = done + (retired[at] > 0 and 1 or 0)
    end
    for at, one in ipairs(new_ones) do
        made[at] = make(one) > 0 and 1 or 0
        done = done + made[at]
    end
    if line ~= '' and done > 0 then
        add(key('audit', ''), line_place, 'l', line)
    end
end)
changed = changed + done
-- What was changed stands there twice, as it is and as what is missing to 2^52, since nobody here can seal it.
local counts = string.format('%016.0f%016.0f', changed, 4503599627370496 - changed)
redis.call('SET', KEYS[3], steps .. counts .. sealed)
redis.call('ZADD', key('steps', ''), begun, job)
tell()
return { 1, string.format('%.0f', changed), settled, retired, made }
