-- replay: stores new deliveries of an old event, unless they were decided on when it had others.
-- ARGV: how many there were or nothing, number of lines of the audit log; each with its place; number of deliveries; for each:
-- id, row, place in the listing, sequence.
-- Gives 1 and for each 0 if its event is gone, else 1; or 0 and the deliveries that there are. Always writes.
local decided_on = next_argument()
local audit = {}
for at = 1, tonumber(next_argument()) do
    audit[at] = { line = next_argument(), place = next_argument() }
end
local number = tonumber(next_argument())

if decided_on ~= '' and number > 0 then
    local is_done = true
    for at = 0, number - 1 do
        is_done = is_done and redis.call('EXISTS', key('d:', ARGV[argument + 1 + 4 * at])) == 1
    end
    local event = event_of(ARGV[argument + 2])
    if not is_done and redis.call('EXISTS', key('e:', event)) == 1 then
        local found = family(event)
        if #found / 2 ~= tonumber(decided_on) then
            count('again', 1)
            tell()
            return { 0, found }
        end
    end
end

local answers, made = { 1 }, false
for at = 1, number do
    local done = make_next()
    answers[at + 1] = done > 0 and 1 or 0
    made = made or done == 2
end
if made then
    for _, entry in ipairs(audit) do
        add(key('audit', ''), entry.place, 'l', entry.line)
    end
else
    count('again', 1)
end
tell()
return answers
