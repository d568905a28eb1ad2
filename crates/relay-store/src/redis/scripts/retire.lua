-- retire: removes ended deliveries that are what was decided on, and with the last of an event that too.
-- ARGV: number; for each: id, version, state, row, how its event was found, front and names of that, 1 if it is young.
-- Gives for each: 0 passed over, 1 removed, 2 its event went along, 3 something is other than it was read: it is to be read again. Always
-- writes.
local answers = {}
must_be('hash', counters)
local removals = all_of(next_removal)
do_all(function()
    for at, removal in ipairs(removals) do
        answers[at] = retire(removal)
    end
end)
count('again', 1)
tell()
return answers
