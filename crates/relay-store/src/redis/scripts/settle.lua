-- settle: applies changes whose header is the one decided on.
-- ARGV: number; for each: id, state, version and fence decided on, row, attempt to keep or nothing, line of the audit log or nothing and
-- its place, class of a new try or nothing, 1 if that was a retry.
-- Gives for each: 1 applied, 0 there is none, else the row that stands there. Writes if anything is applied; else counts `again`.
local answers, applied = {}, false
for at = 1, tonumber(next_argument()) do
    local stored = settle_next()
    if stored == nil then
        answers[at], applied = 1, true
    elseif stored then
        answers[at] = stored
    else
        answers[at] = 0
    end
end
if not applied then
    count('again', 1)
end
tell()
return answers
