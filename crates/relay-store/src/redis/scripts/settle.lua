-- settle: applies changes whose header is the one decided on.
-- ARGV: number; for each: id, state, version and fence decided on, row, attempt to keep or nothing, line of the audit log or nothing and
-- its place, class of a new try or nothing, 1 if that was a retry.
-- Gives for each: 1 applied, 0 there is none, else the row that stands there. Writes if anything is applied; else counts `again`.
local answers, applied = {}, false
must_be('hash', counters)
local changes = all_of(next_change)
do_all(function()
    for at, change in ipairs(changes) do
        answers[at] = settle(change)
        applied = applied or answers[at] == 1
    end
end)
if not applied then
    count('again', 1)
end
tell()
return answers
