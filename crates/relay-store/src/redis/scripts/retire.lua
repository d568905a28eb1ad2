-- retire: removes ended deliveries that are what was decided on, and with the last of an event that too.
-- ARGV: number; for each: id, version, state. Gives for each: 0 passed over, 1 removed, 2 its event went along.
local answers = {}
for at = 1, tonumber(next_argument()) do
    answers[at] = retire_next()
end
count('again', 1)
tell()
return answers
