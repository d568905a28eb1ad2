-- restore: writes documents back that somebody took out of a registry which nobody has changed since. Where it has changed, or is another one,
-- nothing is: what is gone may have been removed.
-- KEYS: documents of the kind, version of the registry, audit log, what the store is. ARGV: the epoch, the version at which they were there
-- (nothing: there is none), the version from now on (nothing: the same); number of documents, each with its name; number of lines, each with its
-- place. Lines are written if a document is. Gives the numbers of those that are written, from 0.
local epoch, version, next_version = next_argument(), next_argument(), next_argument()
local documents = all_of(function() return { name = next_argument(), document = next_argument() } end)
local lines = all_of(function() return { line = next_argument(), place = next_argument() } end)
must_be('hash', KEYS[1])
must_be('string', KEYS[2])
must_be('stream', KEYS[3])
must_be('hash', KEYS[4])
local written = {}
if redis.call('HGET', KEYS[4], 'epoch') ~= epoch or (redis.call('GET', KEYS[2]) or '') ~= version then
    return written
end
for at, of in ipairs(documents) do
    if redis.call('HSETNX', KEYS[1], of.name, of.document) == 1 then
        written[#written + 1] = at - 1
    end
end
if #written > 0 then
    for _, entry in ipairs(lines) do
        add(KEYS[3], entry.place, 'l', entry.line)
    end
end
if next_version ~= '' then
    redis.call('SET', KEYS[2], next_version)
end
return written
