-- step: one step of a job, if the job is there: changes, removals, new deliveries, line of the audit log and mark.
-- KEYS[3] is the mark. ARGV: steps before it, job, when that was begun (ms), the mark's sealed part, how much was changed in other partitions, line of
-- the audit log or nothing and its place; then changes as in `settle`, removals as in `retire`, new deliveries as in `replay`, each behind their number.
-- Gives 0 and the mark that stands there, or 1, changed so far, and the answers of changes, removals and new deliveries. Always writes.
local before, job, begun, sealed = next_argument(), next_argument(), next_argument(), next_argument()
local done = tonumber(next_argument())
local line, line_place = next_argument(), next_argument()
local mark = redis.call('GET', KEYS[3])
local steps = mark and tonumber(string.sub(mark, 1, 16)) or 0
if steps ~= tonumber(before) then
    count('again', 1)
    tell()
    return { 0, mark or '' }
end
local changed = mark and tonumber(string.sub(mark, 17, 32)) or 0

local settled = {}
for at = 1, tonumber(next_argument()) do
    local stored = settle_next()
    if stored == nil then
        settled[at], done = 1, done + 1
    else
        settled[at] = stored or 0
    end
end
local retired = {}
for at = 1, tonumber(next_argument()) do
    retired[at] = retire_next()
    done = done + (retired[at] > 0 and 1 or 0)
end
local made = {}
for at = 1, tonumber(next_argument()) do
    local answer = make_next()
    made[at] = answer > 0 and 1 or 0
    done = done + made[at]
end
if line ~= '' and done > 0 then
    add(key('audit', ''), line_place, 'l', line)
end
redis.call('SET', KEYS[3], string.format('%016.0f%016.0f', steps + 1, changed + done) .. sealed)
redis.call('ZADD', key('steps', ''), begun, job)
tell()
return { 1, string.format('%.0f', changed + done), settled, retired, made }
