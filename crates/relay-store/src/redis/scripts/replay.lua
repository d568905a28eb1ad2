-- replay: stores new deliveries of an old event, unless they were decided on when it had others.
-- ARGV: how many there were or nothing, number of lines of the audit log; each with its place; number of deliveries; for each:
-- id, row, place in the listing, sequence, its name for its event.
-- Gives 1 and for each 0 if its event is gone, else 1; or 0 and the deliveries that there are. Always writes.
local decided_on = next_argument()
must_be('hash', counters)
local audit = all_of(function() return { line = next_argument(), place = next_argument() } end)
if #audit > 0 then
    must_be('stream', key('audit', ''))
end
local all = all_of(next_made)

if decided_on ~= '' and #all > 0 then
    local is_done = true
    for _, made in ipairs(all) do
        is_done = is_done and is_stored(made.id)
    end
    local event = all[1].event
    if not is_done and redis.call('EXISTS', key('e:', event)) == 1 then
        local found = family(event)
        if #found / 2 ~= tonumber(decided_on) then
            count('again', 1)
            tell()
            return { 0, found }
        end
    end
end

local answers, is_new = { 1 }, false
do_all(function()
    for at, made in ipairs(all) do
        local done = make(made)
        answers[at + 1] = done > 0 and 1 or 0
        is_new = is_new or done == 2
    end
end)
if is_new then
    for _, entry in ipairs(audit) do
        add(key('audit', ''), entry.place, 'l', entry.line)
    end
else
    count('again', 1)
end
tell()
return answers
