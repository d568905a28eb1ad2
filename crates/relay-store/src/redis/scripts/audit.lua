-- audit: writes lines of the audit log, each behind the one before it.
-- KEYS: the log. ARGV: number of lines; each with its place.
must_be('stream', KEYS[1])
for _ = 1, tonumber(next_argument()) do
    local line, place = next_argument(), next_argument()
    add(KEYS[1], place, 'l', line)
end
return 1
