-- document: writes or deletes a document if its stored version is the one expected.
-- KEYS: documents of the kind, version of the registry, audit log. ARGV: name, expected version (20 digits, or nothing: there is none), the new
-- document (its version in front) or nothing, the registry's new version (nothing: it stays), number of lines; each with its place. Gives the
-- registry's version before (nothing: there was none) if it is written, else 0.
must_be('hash', KEYS[1])
must_be('string', KEYS[2])
must_be('stream', KEYS[3])
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local version = stored and sub(stored, 1, 20) or ''
if version ~= ARGV[2] then
    return 0
end
if ARGV[3] == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
else
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
for at = 1, tonumber(ARGV[5]) do
    add(KEYS[3], ARGV[5 + 2 * at], 'l', ARGV[4 + 2 * at])
end
local before = redis.call('GET', KEYS[2]) or ''
if ARGV[4] ~= '' then
    redis.call('SET', KEYS[2], ARGV[4])
end
return before
